/** Layers. Each one creates Variables under torchvision's names and returns a function of graph Values. */
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
  type Collective,
  type Value,
  type Variable,
} from '../engine/index.js'

/** Layouts in PyTorch and in the engine: conv OIHW and HWIO, linear [out, in] and [in, out], vector [n] in both. */
export type Layout = 'vector' | 'conv' | 'linear'

/** One entry of the state dict. */
export interface Entry {
  readonly variable: Variable
  readonly layout: Layout
  /** The shape in PyTorch: conv OIHW, linear [out, in], vector [n]. */
  readonly torchShape: readonly number[]
  /** A parameter, and not a running statistic. */
  readonly trainable: boolean
  /** Keeps its value in training. */
  readonly frozen: boolean
}

/** Options of a forward pass. */
export interface Mode {
  /** Batch-norm uses batch statistics (true) or running statistics (false). */
  readonly training: boolean
  /** Equal groups of consecutive rows (views) that batch-norm normalises separately. Default 1: all rows together. */
  readonly groups?: number
  /** Training appends the updates of the running statistics to this list. */
  readonly updates?: Assignment[]
  /** How the running statistics are updated; by default as moving averages, as in PyTorch. */
  readonly updateStatistics?: typeof updateRunningStatistics
  /** Batch-norm's batch statistics are those of the rows of all these ranks. */
  readonly across?: Collective
  /** A network with gates runs as its sparse one, and appends the gates [N, channels] of each block to this list. */
  readonly gates?: Value[]
}

/**
 * Initial weights of convolutions. 'he': N(0, 2 / fan_out), as in torchvision's ResNets (He et al. 2015). 'pytorch':
 * U(± 1 / √fan_in), the default of PyTorch's layers, whose deviation is 2.4 times smaller at a square 3×3 convolution.
 */
export type InitialScheme = 'he' | 'pytorch'

/** The Variables of a network by state-dict name, in order of creation. */
export class StateDict {
  readonly entries = new Map<string, Entry>()

  /**
   * @param seed of the initial weights: those of a tensor are a function of (seed, index of the tensor in the network)
   * @param prefix of the Variables' names, but not of the state-dict names; it distinguishes two copies of a network
   * @param initialWeights of the convolutions; linear layers always have PyTorch's
   */
  constructor(
    readonly seed: number,
    readonly prefix = '',
    readonly initialWeights: InitialScheme = 'he',
  ) {}

  /** The parameters that training changes. */
  get parameters(): Variable[] {
    return [...this.entries.values()].filter((e) => e.trainable && !e.frozen).map((e) => e.variable)
  }

  /** All Variables, running statistics included. */
  get variables(): Variable[] {
    return [...this.entries.values()].map((e) => e.variable)
  }

  /** Number of scalars in parameters, frozen ones included, without the padding channel of the stem. */
  get parameterCount(): number {
    return countScalars([...this.entries.values()].filter((e) => e.trainable))
  }

  /** Number of scalars in frozen parameters. */
  get frozenCount(): number {
    return countScalars([...this.entries.values()].filter((e) => e.trainable && e.frozen))
  }

  /** Excludes entries from training. Call it before `seal`. */
  freeze(chosen: (name: string) => boolean): void {
    for (const [name, entry] of this.entries) if (chosen(name)) this.entries.set(name, { ...entry, frozen: true })
  }

  /** Puts all trained parameters into one buffer, so that the optimiser needs one dispatch. Call it once, at the end. */
  seal(): this {
    new Arena(this.parameters)
    return this
  }

  /**
   * Adds a Variable.
   *
   * @param shape in the engine's layout
   * @param draw makes the generator of the initial values from the tensor's random stream
   * @throws Error where the name exists
   */
  add(
    name: string,
    shape: readonly number[],
    layout: Layout,
    torchShape: readonly number[],
    draw: (random: RandomStream) => () => number,
    trainable = true,
  ): Variable {
    if (this.entries.has(name)) throw new Error(`state dict: '${name}' exists already`)
    const index = this.entries.size
    const { seed } = this
    const added = variable(`${this.prefix}${name}`, shape, function* () {
      const next = draw(new RandomStream(seed, Purpose.weights, index))
      const data = new Float32Array(sizeOf(shape))
      const padding = layout === 'conv' ? shape[2] - torchShape[1] : 0
      const [inner, channels] = [shape[3] ?? 1, shape[2] ?? 1]
      for (let i = 0; i < data.length; i++) {
        // The padding channel of the stem stays zero, as in the images.
        data[i] = padding && Math.floor(i / inner) % channels >= torchShape[1] ? 0 : next()
        if (i % DRAWN_AT_ONCE === DRAWN_AT_ONCE - 1) yield i + 1
      }
      return data
    })
    this.entries.set(name, { variable: added, layout, torchShape, trainable, frozen: false })
    return added
  }
}

/** Numbers that are drawn without a pause: some tenths of a second. */
const DRAWN_AT_ONCE = 1 << 20

const countScalars = (entries: readonly Entry[]): number => entries.reduce((n, e) => n + sizeOf(e.torchShape), 0)

const always = (value: number) => () => () => value

/**
 * 2-D convolution without bias, [N, H, W, from] → [N, H', W', to]. x may have channels of zeros after its own; checkpoints do
 * not hold their weights.
 */
export function convLayer(
  dict: StateDict,
  name: string,
  {
    from,
    zeros = 0,
    to,
    kernel,
    stride = 1,
    padding = 0,
  }: { from: number; zeros?: number; to: number; kernel: number; stride?: number; padding?: number },
): (x: Value) => Value {
  const deviation = Math.sqrt(2 / (kernel * kernel * to))
  const bound = 1 / Math.sqrt(kernel * kernel * from)
  const he = (r: RandomStream) => () => deviation * r.normal()
  const uniform = (r: RandomStream) => () => r.uniform(-bound, bound)
  const w = dict.add(
    `${name}.weight`,
    [kernel, kernel, from + zeros, to],
    'conv',
    [to, from, kernel, kernel],
    dict.initialWeights === 'he' ? he : uniform,
  )
  return (x) => conv2d(x, w, { stride, padding })
}

/** Fully connected layer, [N, from] → [N, to]; weights and bias from U(±1 / √from), PyTorch's default. */
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

/** Batch-norm over all dimensions but the last; the returned function can fuse a residual and a ReLU. */
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
  return (x, { training, groups = 1, updates, updateStatistics = updateRunningStatistics, across }, options = {}) => {
    if (!training) return batchNormInference(x, running.mean, running.variance, scale, shift, options)
    const { y, mean, variance } = batchNorm(x, scale, shift, { groups, across, ...options })
    const rows = (x.size / channels / groups) * (across?.size ?? 1)
    updates?.push(...updateStatistics(running, { mean, variance }, rows))
    return y
  }
}
