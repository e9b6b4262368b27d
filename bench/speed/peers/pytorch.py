"""PyTorch as a peer, on CUDA if available, else on the CPU. Eager mode, f32 without TF32. The protocol is in peer.ts.

Requests are lines of JSON on stdin; answers are lines on stdout that begin with '@'. Tensors are exchanged as
safetensors files: images NHWC, convolution weights HWIO, networks with torchvision's names.
"""

import json
import os
import struct
import sys
import time

import numpy
import torch
from torch import nn
from torch.nn import functional as F

VIEWS, LAMBDA, RATE, DIM, CHECK_SCALE = 2, 0.01, 1e-4, 256, 1024.0
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Unsupported(Exception):
    """PyTorch does not support a case on this device."""


def read_tensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    return {
        name: torch.from_numpy(
            numpy.frombuffer(data[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"]).copy()
        ).to(DEVICE)
        for name, entry in header.items()
    }


def write_tensors(path, tensors):
    header, parts, offset = {}, [], 0
    for name, tensor in tensors.items():
        part = tensor.detach().cpu().contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": [tensor.numel()], "data_offsets": [offset, offset + len(part)]}
        parts.append(part)
        offset += len(part)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def synchronize():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


class Operation:
    """A matrix product, a convolution or one of its gradients; `layout` converts to the layout of the result file."""

    def __init__(self, case, inputs):
        if case["kind"] == "matmul":
            a, b = inputs["a"], inputs["b"]
            self.name, self.once, self.layout = "c", lambda: a @ b, lambda c: c
            return
        stride = case["shape"][5]
        x = inputs["x"].permute(0, 3, 1, 2).contiguous()
        w = inputs["w"].permute(3, 2, 0, 1).contiguous()
        dy = inputs["dy"].permute(0, 3, 1, 2).contiguous()

        def gradient(which):
            mask = [i == which for i in range(3)]
            options = ([stride, stride], [1, 1], [1, 1], False, [0, 0], 1, mask)
            return torch.ops.aten.convolution_backward(dy, x, w, None, *options)[which]

        self.name, self.once, order = {
            "forward": ("y", lambda: F.conv2d(x, w, stride=stride, padding=1), (0, 2, 3, 1)),
            "input gradient": ("dx", lambda: gradient(0), (0, 2, 3, 1)),
            "weight gradient": ("dw", lambda: gradient(1), (2, 3, 1, 0)),
        }[case["direction"]]
        self.layout = lambda t: t.permute(*order)

    def results(self):
        with torch.no_grad():
            return {self.name: self.layout(self.once())}

    def run(self):
        with torch.no_grad():
            self.once()


class Block(nn.Module):
    def __init__(self, start, to, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(start, to, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(to)
        self.conv2 = nn.Conv2d(to, to, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(to)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(start, to, 1, stride, bias=False), nn.BatchNorm2d(to))

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(h)) + (self.downsample(x) if self.downsample else x), inplace=True)


class Network(nn.Module):
    """ResNet-18 with CIFAR stem and projector, with torchvision's names."""

    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        start = width
        for stage in range(4):
            to = width * 2**stage
            self.add_module(
                f"layer{stage + 1}", nn.Sequential(Block(start, to, 2 if stage else 1), Block(to, to, 1))
            )
            start = to
        self.projector = nn.Sequential(
            nn.Linear(start, DIM, bias=False), nn.BatchNorm1d(DIM), nn.ReLU(inplace=True), nn.Linear(DIM, DIM)
        )

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)), inplace=True)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            h = layer(h)
        return self.projector(h.mean((2, 3)))


class Step:
    """A training step: loss, gradients, Adam. f16 is autocast with channels last and a loss scale, on CUDA only."""

    def __init__(self, case, inputs):
        self.mixed = case["precision"] == "f16"
        if self.mixed and DEVICE.type != "cuda":
            raise Unsupported("its autocast to f16 needs CUDA")
        self.batch = case["batch"]
        self.x = inputs.pop("x").permute(0, 3, 1, 2).contiguous()
        self.network = Network(case["width"]).to(DEVICE)
        self.network.load_state_dict(inputs, strict=False)
        missing = [n for n in self.network.state_dict() if n not in inputs and not n.endswith("num_batches_tracked")]
        if missing:
            raise ValueError(f"the inputs lack {missing[0]}")
        if self.mixed:
            self.x = self.x.to(memory_format=torch.channels_last)
            self.network = self.network.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.network.parameters(), RATE)
        self.scaler = torch.cuda.amp.GradScaler(init_scale=CHECK_SCALE, enabled=self.mixed)
        self.eye = torch.eye(DIM, device=DEVICE)
        self.weights = LAMBDA + (1 - LAMBDA) * self.eye

    def run(self):
        with torch.autocast(DEVICE.type, torch.float16 if self.mixed else torch.bfloat16, enabled=self.mixed):
            z = self.network(self.x)
        z = F.normalize(z.float(), dim=1)
        z = (z - z.mean(0)) / z.std(0)
        c = z[: self.batch].T @ z[self.batch :] / self.batch
        loss = ((c - self.eye).square() * self.weights).sum()
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss

    def results(self):
        # The optimizer step has already removed the loss scale from the gradients.
        first = self.run()
        gradient = self.network.conv1.weight.grad.clone()
        losses = [first] if self.mixed else [first, self.run()]
        return {"loss": torch.stack(losses), "conv1.weight gradient": gradient}


def say(answer):
    print("@" + json.dumps(answer), flush=True)


def describe():
    if DEVICE.type == "cuda":
        return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return f"CPU, {torch.get_num_threads()} threads"


def answer(request, prepared):
    if request["do"] == "release":
        return None, {}
    if request["do"] == "prepare":
        if DEVICE.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        prepared = (Step if request["case"]["kind"] == "step" else Operation)(
            request["case"], read_tensors(request["inputs"])
        )
        write_tensors(request["result"], prepared.results())
        return prepared, {"peakBytes": torch.cuda.max_memory_allocated()} if DEVICE.type == "cuda" else {}
    synchronize()
    started = time.perf_counter()
    for _ in range(request["times"]):
        prepared.run()
    synchronize()
    return prepared, {"seconds": (time.perf_counter() - started) / request["times"]}


def main():
    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    say({"name": "torch", "version": torch.__version__, "device": describe()})
    prepared = None
    for line in sys.stdin:
        try:
            prepared, reply = answer(json.loads(line), prepared)
        except Unsupported as error:
            prepared, reply = None, {"unsupported": str(error)}
        except Exception as error:  # only this case is lost
            prepared, reply = None, {"error": (str(error).strip().splitlines() or [repr(error)])[0]}
        say(reply)


main()
