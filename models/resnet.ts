/** ResNet-18, -34 and -50 (He et al. 2016; torchvision's stride placement) at any base width. */
import { globalAveragePool, maxPool2d, type Value } from '../engine/index.js'
import { channelGates, gated } from './gates.js'
import { batchNormLayer, convLayer, StateDict, type InitialScheme, type Mode } from './layers.js'

export const architectures = {
  resnet18: { block: 'basic', blocks: [2, 2, 2, 2] },
  resnet34: { block: 'basic', blocks: [3, 4, 6, 3] },
  resnet50: { block: 'bottleneck', blocks: [3, 4, 6, 3] },
} as const

export type Architecture = keyof typeof architectures
export type Stem = 'cifar' | 'imagenet'

export interface ResNetOptions {
  arch: Architecture
  /** Channels of the first stage; 64 in the literature. Widths that are no multiple of 4 are padded, and slower. */
  width?: number
  /** 'cifar': 3×3, stride 1, no pooling. 'imagenet': 7×7, stride 2, then a 3×3 max-pool of stride 2. */
  stem?: Stem
  /** ReLU after the batch-norm of the stem. The paper's research code has none, by accident. */
  stemRelu?: boolean
  /** Sets the last batch-norm scale of every block to 0 at first, so that blocks start as identities (Goyal et al. 2017). */
  zeroInitResidual?: boolean
  /** Initial weights of the convolutions, 'he' by default. */
  initialWeights?: InitialScheme
  /** Each block has gates for the channels of its first convolution; only a pass with `Mode.gates` uses them. */
  gates?: boolean
  /**
   * The stem (0) or the stem and the first 1 to 4 stages are frozen: in training they keep their weights, and their
   * batch-norms use and keep the running statistics. If absent, nothing is frozen.
   */
  freezeStages?: number
  /** Seed of the initial weights. */
  seed?: number
  /** Prefix of the Variables' names; the state-dict names stay torchvision's. */
  prefix?: string
}

type FullOptions = Required<Omit<ResNetOptions, 'freezeStages'>> & Pick<ResNetOptions, 'freezeStages'>

/** A backbone: its Variables and its forward function. */
export interface Backbone {
  readonly dict: StateDict
  /** Width of the features: 8 · width, or 32 · width for ResNet-50. */
  readonly features: number
  readonly options: FullOptions
  /** x: [N, H, W, 4] (RGB normalised, the fourth channel zero) → [N, features] */
  forward(x: Value, mode: Mode): Value
}

/** @param gate gates of the first convolution's channels, for x */
type Block = (x: Value, mode: Mode, gate?: (x: Value) => Value) => Value

/** The channels after a block's first convolution; with `Mode.gates` multiplied by their gates, which are collected. */
function throughGates(inner: Value, x: Value, { gates }: Mode, gate?: (x: Value) => Value): Value {
  if (!gates || !gate) return inner
  const open = gate(x)
  gates.push(open)
  return gated(inner, open)
}

/** conv3×3 – bn – relu – conv3×3 – bn – (+ shortcut) – relu */
function basicBlock(dict: StateDict, name: string, from: number, planes: number, stride: number, zero: boolean): Block {
  const conv1 = convLayer(dict, `${name}.conv1`, { from, to: planes, kernel: 3, stride, padding: 1 })
  const bn1 = batchNormLayer(dict, `${name}.bn1`, planes)
  const conv2 = convLayer(dict, `${name}.conv2`, { from: planes, to: planes, kernel: 3, padding: 1 })
  const bn2 = batchNormLayer(dict, `${name}.bn2`, planes, { initialScale: zero ? 0 : 1 })
  const shortcut = shortcutOf(dict, name, from, planes, stride)
  return (x, mode, gate) => {
    const inner = throughGates(bn1(conv1(x), mode, { relu: true }), x, mode, gate)
    return bn2(conv2(inner), mode, { relu: true, residual: shortcut(x, mode) })
  }
}

/** conv1×1 – bn – relu – conv3×3 (with the stride) – bn – relu – conv1×1 to 4·planes – bn – (+ shortcut) – relu */
function bottleneckBlock(
  dict: StateDict,
  name: string,
  from: number,
  planes: number,
  stride: number,
  zero: boolean,
): Block {
  const to = 4 * planes
  const conv1 = convLayer(dict, `${name}.conv1`, { from, to: planes, kernel: 1 })
  const bn1 = batchNormLayer(dict, `${name}.bn1`, planes)
  const conv2 = convLayer(dict, `${name}.conv2`, { from: planes, to: planes, kernel: 3, stride, padding: 1 })
  const bn2 = batchNormLayer(dict, `${name}.bn2`, planes)
  const conv3 = convLayer(dict, `${name}.conv3`, { from: planes, to, kernel: 1 })
  const bn3 = batchNormLayer(dict, `${name}.bn3`, to, { initialScale: zero ? 0 : 1 })
  const shortcut = shortcutOf(dict, name, from, to, stride)
  return (x, mode, gate) => {
    const reduced = throughGates(bn1(conv1(x), mode, { relu: true }), x, mode, gate)
    const inner = bn2(conv2(reduced), mode, { relu: true })
    return bn3(conv3(inner), mode, { relu: true, residual: shortcut(x, mode) })
  }
}

/** The identity, or conv1×1 – bn where the block changes the shape. */
function shortcutOf(dict: StateDict, name: string, from: number, to: number, stride: number): Block {
  if (stride === 1 && from === to) return (x) => x
  const conv = convLayer(dict, `${name}.downsample.0`, { from, to, kernel: 1, stride })
  const bn = batchNormLayer(dict, `${name}.downsample.1`, to)
  return (x, mode) => bn(conv(x), mode)
}

/**
 * Builds a ResNet without its classifier.
 *
 * @throws Error where the architecture is unknown, or the width or `freezeStages` is not a whole number in its range
 */
export function resnet(options: ResNetOptions): Backbone {
  const full: FullOptions = {
    width: 64,
    stem: 'cifar',
    stemRelu: true,
    zeroInitResidual: false,
    initialWeights: 'he',
    gates: false,
    seed: 0,
    prefix: '',
    ...options,
  }
  const { arch, width, stem, stemRelu, zeroInitResidual, initialWeights, freezeStages, seed, prefix, gates } = full
  const spec = Object.hasOwn(architectures, arch) ? architectures[arch] : undefined
  if (!spec) throw new Error(`unknown architecture '${arch}': choose one of ${Object.keys(architectures).join(', ')}`)
  if (!Number.isInteger(width) || width < 1) throw new Error(`width ${width} must be a whole number of at least 1`)
  if (freezeStages !== undefined && ![0, 1, 2, 3, 4].includes(freezeStages))
    throw new Error(`freezeStages ${freezeStages} must be a whole number from 0 to 4`)
  const isFrozen = (stage: number): boolean => freezeStages !== undefined && stage <= freezeStages
  /** The mode of a stage; 0 is the stem. */
  const modeOf = (stage: number, mode: Mode): Mode => (isFrozen(stage) ? { training: false } : mode)
  const dict = new StateDict(seed, prefix, initialWeights)
  // Images have a fourth channel of zeros, so that every load is a whole vec4.
  const pixels = { from: 3, zeros: 1 }
  const conv1 = convLayer(
    dict,
    'conv1',
    stem === 'cifar'
      ? { ...pixels, to: width, kernel: 3, padding: 1 }
      : { ...pixels, to: width, kernel: 7, stride: 2, padding: 3 },
  )
  const bn1 = batchNormLayer(dict, 'bn1', width)
  const make = spec.block === 'basic' ? basicBlock : bottleneckBlock
  const expansion = spec.block === 'basic' ? 1 : 4
  const blocks: { name: string; block: Block; stage: number; from: number; planes: number }[] = []
  let from = width
  spec.blocks.forEach((count, stage) => {
    const planes = width * 2 ** stage
    for (let i = 0; i < count; i++) {
      const stride = stage > 0 && i === 0 ? 2 : 1
      const name = `layer${stage + 1}.${i}`
      const block = make(dict, name, from, planes, stride, zeroInitResidual)
      blocks.push({ name, block, stage: stage + 1, from, planes })
      from = planes * expansion
    }
  })
  // The gates come last, so that the other weights are those of the network without gates.
  const gateOf = blocks.map(({ name, from, planes }) =>
    gates ? channelGates(dict, `${name}.gate`, { from, to: planes }) : undefined,
  )
  dict.freeze((name) => isFrozen(Number(/^layer(\d)/.exec(name)?.[1] ?? 0)))
  dict.seal()
  return {
    dict,
    features: from,
    options: full,
    forward(x, mode) {
      let h = bn1(conv1(x), modeOf(0, mode), { relu: stemRelu })
      if (stem === 'imagenet') h = maxPool2d(h, { size: 3, stride: 2, padding: 1 })
      for (const [i, { block, stage }] of blocks.entries())
        h = block(h, { ...modeOf(stage, mode), gates: mode.gates }, gateOf[i])
      return globalAveragePool(h)
    },
  }
}
