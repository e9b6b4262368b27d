/** Layers: Variables under torchvision's names, and the function of graph Values that they serve. */
import {
  Arena,
  RandomStream,
  Purpose,
  batchNorm,
  batchNormInference,
  conv2d,
  matmul,
  updateRunningStatistics,
  variable,
  sizeOf,
  type Assignment,
  type Value,
  type Variable,
} from '../engine/index.js'

/** How PyTorch lays a tensor out, against how the engine does. */
export type Layout = 'vector' | 'conv' | 'linear'

/** One entry of the state dict. */
export interface Entry {
  readonly variable: Variable
  readonly layout: Layout
  /** The shape under PyTorch: conv OIHW, linear [out, in], vector [n]. */
  readonly torchShape: readonly number[]
  readonly trainable: boolean
}

/** How a forward pass is to be taken. */
export interface Mode {
  /** Batch statistics (true) or running statistics (false). */
  readonly training: boolean
  /** Runs of rows (views) that batch-norm treats each on its own; 1: jointly. */
  readonly groups?: number
  /** Where training puts the updates of the running statistics. */
  readonly updates?: Assignment[]
}

/** The Variables of a network, by state-dict name, in the order in which they were made. */
export class StateDict {
  readonly entries = new Map<string, Entry>()

  /**
   * @param seed of the initial weights: each tensor's are a function of (seed, its place in the network)
   * @param prefix before the names of the Variables, though not of the entries: tells two copies of a network apart
   */
  constructor(
    readonly seed: number,
    readonly prefix = '',
  ) {}

  /** Parameters that gradients are taken in. */
  get parameters(): Variable[] {
    return [...this.entries.values()].filter((e) => e.trainable).map((e) => e.variable)
  }

  /** Everything, running statistics included. */
  get variables(): Variable[] {
    return [...this.entries.values()].map((e) => e.variable)
  }

  /** Number of trained numbers, without the stem's padding channel. */
  get parameterCount(): number {
    return [...this.entries.values()].filter((e) => e.trainable).reduce((n, e) => n + sizeOf(e.torchShape), 0)
  }

  /** Lays all parameters into one buffer, so that the optimiser updates them with one dispatch. Call once, when complete. */
  seal(): this {
    new Arena(this.parameters)
    return this
  }

  add(
    name: string,
    shape: readonly number[],
    layout: Layout,
    torchShape: readonly number[],
    draw: (random: RandomStream) => () => number,
    trainable = true,
  ): Variable {
    if (this.entries.has(name)) throw new Error(`state dict: '${name}' exists already`)
    const place = this.entries.size
    const made = variable(`${this.prefix}${name}`, shape, () => {
      const next = draw(new RandomStream(this.seed, Purpose.weights, place))
      const data = new Float32Array(sizeOf(shape))
      const padding = layout === 'conv' ? shape[2] - torchShape[1] : 0
      const [inner, channels] = [shape[3] ?? 1, shape[2] ?? 1]
      for (let i = 0; i < data.length; i++)
        // A padding channel of the stem stays zero: it multiplies zeros.
        data[i] = padding && Math.floor(i / inner) % channels >= torchShape[1] ? 0 : next()
      return data
    })
    this.entries.set(name, { variable: made, layout, torchShape, trainable })
    return made
  }
}

const always = (value: number) => () => () => value

/** 2-D convolution without bias; weights from N(0, 2 / fan_out) as torchvision's ResNets (He et al. 2015). */
export function convLayer(
  dict: StateDict,
  name: string,
  {
    from,
    to,
    kernel,
    stride = 1,
    padding = 0,
  }: { from: number; to: number; kernel: number; stride?: number; padding?: number },
): (x: Value) => Value {
  // Images come with a fourth, zero channel, so that every load is a whole vec4.
  const padded = from === 3 ? 4 : from
  const deviation = Math.sqrt(2 / (kernel * kernel * to))
  const w = dict.add(
    `${name}.weight`,
    [kernel, kernel, padded, to],
    'conv',
    [to, from, kernel, kernel],
    (r) => () => deviation * r.normal(),
  )
  return (x) => conv2d(x, w, { stride, padding })
}

/** Fully connected layer, [N, from] → [N, to]; weights and bias from U(±1 / √from) as PyTorch's default. */
export function linearLayer(
  dict: StateDict,
  name: string,
  { from, to, bias = true }: { from: number; to: number; bias?: boolean },
): (x: Value) => Value {
  const bound = 1 / Math.sqrt(from)
  const draw = (r: RandomStream) => () => r.uniform(-bound, bound)
  const w = dict.add(`${name}.weight`, [from, to], 'linear', [to, from], draw)
  const b = bias ? dict.add(`${name}.bias`, [to], 'vector', [to], draw) : undefined
  return (x) => matmul(x, w, { bias: b })
}

/** Batch-norm over all dimensions but the last, with ReLU and residual fused where asked. */
export function batchNormLayer(
  dict: StateDict,
  name: string,
  channels: number,
  { initialScale = 1 }: { initialScale?: number } = {},
): (x: Value, mode: Mode, options?: { relu?: boolean; residual?: Value }) => Value {
  const vector = (suffix: string, value: number, trainable: boolean) =>
    dict.add(`${name}.${suffix}`, [channels], 'vector', [channels], always(value), trainable)
  const scale = vector('weight', initialScale, true)
  const shift = vector('bias', 0, true)
  const running = { mean: vector('running_mean', 0, false), variance: vector('running_var', 1, false) }
  return (x, { training, groups = 1, updates }, options = {}) => {
    if (!training) return batchNormInference(x, running.mean, running.variance, scale, shift, options)
    const { y, mean, variance } = batchNorm(x, scale, shift, { groups, ...options })
    updates?.push(...updateRunningStatistics(running, { mean, variance }, x.size / channels / groups))
    return y
  }
}
