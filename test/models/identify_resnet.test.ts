/** A ResNet is identified by the names and shapes of its tensors. */
import { describe, expect, test } from 'vitest'
import { identifyResNet, resnet, type ResNetOptions, type SafetensorsTensor } from '../../models/index.js'

type Tensors = Record<string, SafetensorsTensor>

/** The tensors of a network without their numbers, with a classifier and a batch counter as in torchvision. */
function tensorsOf(options: ResNetOptions): Tensors {
  const shapes: [string, readonly number[]][] = [...resnet(options).dict.entries].map(([name, e]) => [
    name,
    e.torchShape,
  ])
  shapes.push(['fc.weight', [1000, 512]], ['bn1.num_batches_tracked', []], ['projector.0.weight', [8, 512]])
  return Object.fromEntries(
    shapes.map(([name, shape]) => [name, { dtype: 'F32', shape: [...shape], data: new Float32Array(0) }]),
  )
}

const renamed = (tensors: Tensors, rename: (name: string) => string): Tensors =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [rename(name), tensor]))

test.each<Required<Pick<ResNetOptions, 'arch' | 'width' | 'stem'>>>([
  { arch: 'resnet18', width: 64, stem: 'imagenet' },
  { arch: 'resnet34', width: 8, stem: 'cifar' },
  { arch: 'resnet50', width: 16, stem: 'imagenet' },
  { arch: 'resnet50', width: 6, stem: 'cifar' },
])('$arch of width $width with the $stem stem', (network) => {
  expect(identifyResNet(tensorsOf(network), 'a.safetensors')).toEqual(network)
})

describe('another file gives one line that names the tensor', () => {
  const small = tensorsOf({ arch: 'resnet18', width: 4 })
  const without = (pattern: RegExp): Tensors =>
    Object.fromEntries(Object.entries(small).filter(([name]) => !pattern.test(name)))
  const weight = (shape: number[]): Tensors => ({
    ...small,
    'conv1.weight': { dtype: 'F32', shape, data: new Float32Array(0) },
  })
  test.each<[string, Tensors, string]>([
    ['no ResNet', { 'head.weight': small['fc.weight'] }, "has no tensor 'conv1.weight': it holds no ResNet"],
    [
      'a deep stem of timm',
      renamed(small, (name) => name.replace(/^conv1\./, 'conv1.0.')),
      "'conv1.0.weight' belongs to a deep stem",
    ],
    [
      'names with a prefix',
      renamed(small, (name) => `module.backbone.${name}`),
      "has no tensor 'conv1.weight' but 'module.backbone.conv1.weight': save it again without the prefix 'module.backbone.'",
    ],
    ['a stem of another size', weight([4, 3, 5, 5]), "'conv1.weight' is [4, 3, 5, 5]: the known stems are cifar"],
    ['a stem of one colour', weight([4, 1, 3, 3]), "'conv1.weight' is [4, 1, 3, 3]: "],
    ['a missing stage', without(/^layer3/), "has no tensor 'layer3.0.conv1.weight'"],
    [
      'other numbers of blocks',
      without(/^layer3\.1/),
      'its stages have 2, 2, 1, 2 basic blocks: the known networks are',
    ],
  ])('%s', (_, tensors, message) => {
    const identify = () => identifyResNet(tensors, 'a.safetensors')
    expect(identify).toThrow(`a.safetensors: ${message}`)
    expect(identify).toThrow(/^[^\n]*$/)
  })
})
