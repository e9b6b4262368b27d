/**
 * Weights from and to PyTorch: the README's lines that load a checkpoint, frozen stages, and the lines that convert a
 * file of PyTorch. All in one Python process, because importing torch takes seconds.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest'
import { gradients, input, multiply, sum, type Assignment, type Value } from '../../engine/index.js'
import { encodeSafetensors, exportStateDict, projector, resnet } from '../../models/index.js'
import { toTorch } from '../../models/state_dict.js'
import { PyTorchFileError, readBackbone } from '../../train/node/weights.js'
import { expectClose } from '../support/check.js'
import { engine } from '../support/engine.js'
import { formulaTensor } from '../support/formula.js'
import { fillByFormula, withZeroChannel } from '../support/networks.js'

const [IMAGES, SIZE, FROZEN] = [4, 16, 2]
const shape = [IMAGES, SIZE, SIZE, 3]
/** Trained parameters to compare gradients in, and running statistics that training changes and keeps. */
const WATCHED = ['layer3.0.bn1.bias', 'layer3.0.downsample.1.weight', 'layer4.1.bn2.weight']
const STATISTICS = ['bn1.running_mean', 'layer2.1.bn2.running_var', 'layer3.0.bn1.running_mean']

/** A stand-in for the package of this name: `save_file` writes f32 tensors. */
const safetensorsPackage = `
import json, struct
def save_file(tensors, path):
    header, body = {}, b''
    for name, t in tensors.items():
        raw = t.float().numpy().tobytes()
        header[name] = dict(dtype='F32', shape=list(t.shape), data_offsets=[len(body), len(body) + len(raw)])
        body += raw
    text = json.dumps(header).encode()
    open(path, 'wb').write(struct.pack('<Q', len(text)) + text + body)
`

const comparison = `
import numpy
def nchw(path, shape): return torch.from_numpy(numpy.fromfile(path, dtype='<f4').reshape(shape)).permute(0, 3, 1, 2).contiguous()
x = nchw('x.bin', (${shape.join(', ')}))
r = torch.from_numpy(numpy.fromfile('r.bin', dtype='<f4').reshape(${IMAGES}, 512))
torch.save({'state_dict': {'module.backbone.' + k: v.half() for k, v in net.state_dict().items()}}, 'model.pth')
found = {'eval': net.eval()(x)}
net.train()
for part in [net.conv1, net.bn1, net.layer1, net.layer2]:
    part.eval().requires_grad_(False)
found['train'] = net(x)
(found['train'] * r).sum().backward()
parameters, state = dict(net.named_parameters()), net.state_dict()
found.update({name: parameters[name].grad for name in ${JSON.stringify(WATCHED)}})
found.update({name: state[name] for name in ${JSON.stringify(STATISTICS)}})
json.dump({name: v.detach().flatten().tolist() for name, v in found.items()}, open('found.json', 'w'))
`

let folder: string
let found: Record<string, number[]> | undefined
const backbone = resnet({ arch: 'resnet18', width: 64, freezeStages: FROZEN })

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-torchvision-'))
  const at = (name: string) => join(folder, name)
  const gpu = await engine()
  fillByFormula(gpu, backbone.dict)
  const head = projector({ features: backbone.features, dim: 8 })
  const model = { ...(await exportStateDict(gpu, backbone.dict)), ...(await exportStateDict(gpu, head.dict)) }
  await writeFile(at('model.safetensors'), encodeSafetensors(model))
  await writeFile(at('x.bin'), formulaTensor('torchvision/x', shape))
  await writeFile(at('r.bin'), formulaTensor('torchvision/r', [IMAGES, 512]))
  await mkdir(at('safetensors'))
  await writeFile(join(folder, 'safetensors', '__init__.py'), '')
  await writeFile(join(folder, 'safetensors', 'torch.py'), safetensorsPackage)
  const lines = await readFile(new URL('../readme/load_in_torchvision.py', import.meta.url), 'utf8')
  const { detail } = new PyTorchFileError('model.pth')
  await writeFile(
    at('script.py'),
    [lines, comparison, detail.replace("'model.safetensors'", "'converted.safetensors'")].join('\n'),
  )
  if (!(await runPython(at('script.py')))) return
  found = JSON.parse(await readFile(at('found.json'), 'utf8')) as typeof found
}, 120_000)
afterAll(() => rm(folder, { recursive: true }))

/** Runs a script in its folder. @returns false if no Python of this machine has the packages */
async function runPython(script: string): Promise<boolean> {
  for (const python of ['python3', '/usr/bin/python3'])
    try {
      await promisify(execFile)(python, [script], { cwd: folder })
      return true
    } catch (error) {
      const { code, stderr } = error as { code: unknown; stderr: string }
      if (code !== 'ENOENT' && !/No module named '(torch|torchvision|numpy)'/.test(stderr)) throw error
    }
  return false
}

/** What Python found; the test is skipped where there is no PyTorch. */
function byTorch({ skip }: TestContext): Record<string, number[]> {
  if (!found) skip('python3 has no torch, torchvision and numpy')
  return found!
}

const inputs = () => ({
  x: withZeroChannel(formulaTensor('torchvision/x', shape)),
  r: formulaTensor('torchvision/r', [IMAGES, 512]),
})

test("the README's lines load a checkpoint into torchvision, which gives the same features", async (context) => {
  const expected = byTorch(context)
  const gpu = await engine()
  const program = await gpu.compile({
    outputs: { y: backbone.forward(input('x', [...shape.slice(0, 3), 4]), { training: false }) },
  })
  await program.run({ x: inputs().x })
  expectClose('features', await program.read('y'), expected.eval, 1e-4)
  program.destroy()
})

test('frozen stages: features, gradients and running statistics as in PyTorch', async (context) => {
  const expected = byTorch(context)
  const gpu = await engine()
  const { entries, parameters } = backbone.dict
  const updates: Assignment[] = []
  const y = backbone.forward(input('x', [...shape.slice(0, 3), 4]), { training: true, updates })
  const watched = WATCHED.map((name) => entries.get(name)!)
  const outputs: Record<string, Value> = { y }
  const loss = sum(multiply(y, input('r', y.shape)))
  gradients(
    loss,
    watched.map(({ variable }) => variable),
  ).forEach((g, i) => (outputs[WATCHED[i]] = g))
  const program = await gpu.compile({ outputs, updates })
  await program.run(inputs())
  expectClose('features', await program.read('y'), expected.train, 1e-4)
  for (const [i, name] of WATCHED.entries())
    expectClose(name, toTorch(watched[i], await program.read(name)), expected[name], 1e-3)
  for (const name of STATISTICS) expectClose(name, await gpu.read(entries.get(name)!.variable), expected[name], 1e-4)
  program.destroy()
  const frozen = [...entries].filter(([, entry]) => entry.frozen).map(([name]) => name)
  expect(frozen.filter((name) => !/^(conv1|bn1|layer[12])\./.test(name))).toEqual([])
  expect(parameters.map((v) => v.name).filter((name) => !/^layer[34]\./.test(name))).toEqual([])
})

test('the lines that convert a file of PyTorch give a file that is read', async (context) => {
  byTorch(context)
  const { info, tensors } = await readBackbone(join(folder, 'converted.safetensors'))
  expect(info).toEqual({ arch: 'resnet18', width: 64, stem: 'cifar' })
  expect(tensors['layer1.0.bn1.weight'].shape).toEqual([64])
  await expect(readBackbone(join(folder, 'model.pth'))).rejects.toThrow(/model\.pth: PyTorch wrote this file [^\n]*$/)
})
