import json, torch, torchvision
data = bytearray(open('model.safetensors', 'rb').read())
start = 8 + int.from_bytes(data[:8], 'little')
header = {k: (*t['data_offsets'], t['shape']) for k, t in json.loads(data[8:start]).items() if not k.startswith(('__', 'proj', 'pred'))}
net = torchvision.models.resnet18()
net.conv1, net.maxpool, net.fc = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False), torch.nn.Identity(), torch.nn.Identity()
net.load_state_dict({k: torch.frombuffer(data[start + a:start + b], dtype=torch.float32).reshape(s) for k, (a, b, s) in header.items()})
