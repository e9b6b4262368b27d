/**
 * The paper's linear probe: one linear layer on cached features, Adam 1e-3 with weight decay 1e-6, 200 epochs of batches
 * of 512, cross-entropy with label smoothing .1.
 */
import {
  MASKED_LABEL,
  Purpose,
  RandomStream,
  adam,
  constant,
  crossEntropyRows,
  gather,
  gradients,
  input,
  matmul,
  permutation,
  reshape,
  sum,
  variable,
  type Engine,
  type Program,
  type TypedArray,
  type Variable,
} from '../../engine/index.js'
import { widthOf, type LabelledFeatures } from './labelled_features.js'

export const LEARNING_RATE = 1e-3
export const WEIGHT_DECAY = 1e-6
export const LABEL_SMOOTHING = 0.1
export const EPOCHS = 200
const BATCH = 512

export interface LinearProbeOptions {
  classes: number
  /** One probe each: it draws the initial weights and the order of the rows. */
  seeds: readonly number[]
  epochs?: number
  /** Called after each epoch. */
  onEpoch?(done: number, total: number): void
}

export interface LinearProbe {
  seed: number
  /** [D, classes] */
  weight: Float32Array
  /** [classes] */
  bias: Float32Array
  /** Of the test features, [N, classes]. */
  logits: Float32Array
  /** Shares of the test features whose label is the largest logit, or among the largest five. */
  top1: number
  top5: number
}

/**
 * Trains a probe for each seed, side by side in one program, and applies them to the test features.
 *
 * @throws where there are no features, no seeds, or the widths of the two sets differ
 */
export async function linearProbe(
  engine: Engine,
  train: LabelledFeatures,
  test: LabelledFeatures,
  { classes, seeds, epochs = EPOCHS, onEpoch }: LinearProbeOptions,
): Promise<LinearProbe[]> {
  const width = widthOf(train, test)
  if (!seeds.length) throw new Error('linear probe: at least one seed is needed')
  const count = train.labels.length
  const batch = Math.min(BATCH, count)
  const table = withOnes(train.features, count, width)
  const trainer = await buildTrainer(engine, { table, count, width, classes, seeds, batch })
  try {
    const labels = new Uint32Array(seeds.length * batch)
    const index = new Uint32Array(seeds.length * batch)
    const share = new Float32Array(1)
    for (let epoch = 0; epoch < epochs; epoch++) {
      const orders = seeds.map((seed) => permutation(seed, epoch, count))
      for (let start = 0; start < count; start += batch) {
        const real = Math.min(batch, count - start)
        share[0] = 1 / real
        orders.forEach((order, s) => {
          for (let i = 0; i < batch; i++) {
            const row = order[start + Math.min(i, real - 1)]
            index[s * batch + i] = row
            labels[s * batch + i] = i < real ? train.labels[row] : MASKED_LABEL
          }
        })
        await trainer.step(index, labels, share)
      }
      onEpoch?.(epoch + 1, epochs)
    }
    const weights = await engine.read(trainer.weights)
    return seeds.map((seed, s) => {
      const own = columnsOf(weights, s, width, classes)
      const [weight, bias] = [own.slice(0, width * classes), own.slice(width * classes)]
      const logits = applyLinear(test.features, width, weight, bias)
      return { seed, weight, bias, logits, ...accuracies(logits, test.labels) }
    })
  } finally {
    trainer.destroy()
  }
}

/** Whole vec4s: rows of features and of weights fill them up with zeros, and no product need do so at each step. */
const filled = (columns: number): number => Math.ceil(columns / 4) * 4

/** Columns of the features with a 1 behind them. */
const strideOf = (width: number): number => filled(width + 1)

/** The weights of seed number `s`, and behind them its bias, without the filling: [width + 1, classes]. */
function columnsOf(weights: Float32Array, s: number, width: number, classes: number): Float32Array {
  const columns = filled(classes)
  const first = s * strideOf(width) * columns
  const own = new Float32Array((width + 1) * classes)
  for (let row = 0; row <= width; row++)
    own.set(weights.subarray(first + row * columns, first + row * columns + classes), row * classes)
  return own
}

/** [N, D] → [N, stride]: a column of ones makes the bias a row of the weights, and zeros fill up whole vec4s. */
function withOnes(features: Float32Array, count: number, width: number): Float32Array<ArrayBuffer> {
  const stride = strideOf(width)
  const table = new Float32Array(count * stride)
  for (let i = 0; i < count; i++) {
    table.set(features.subarray(i * width, (i + 1) * width), i * stride)
    table[i * stride + width] = 1
  }
  return table
}

/** PyTorch's default of a linear layer, U(±1 / √D) for weights and bias; [stride, filled classes] a seed. */
function initialWeights(width: number, classes: number, seeds: readonly number[]): Float32Array<ArrayBuffer> {
  const columns = filled(classes)
  const size = strideOf(width) * columns
  const bound = 1 / Math.sqrt(width)
  const weights = new Float32Array(seeds.length * size)
  seeds.forEach((seed, s) => {
    const stream = new RandomStream(seed, Purpose.readout)
    // The filling starts at 0 and has no gradient.
    for (let row = 0; row <= width; row++)
      for (let c = 0; c < classes; c++) weights[s * size + row * columns + c] = stream.uniform(-bound, bound)
  })
  return weights
}

interface Shape {
  /** [count, stride] */
  table: Float32Array<ArrayBuffer>
  count: number
  width: number
  classes: number
  seeds: readonly number[]
  batch: number
}

interface Trainer {
  /** [seeds, stride, filled classes] */
  weights: Variable
  /**
   * @param index rows of the table, [seeds · batch]
   * @param labels [seeds · batch]; MASKED_LABEL takes a row out
   * @param share 1 / (rows of a seed's batch that are not masked), [1]
   */
  step(index: Uint32Array, labels: Uint32Array, share: Float32Array): Promise<void>
  destroy(): void
}

/** One step of all seeds as a program. Its gradients never need the loss itself, so that none is computed. */
async function buildTrainer(engine: Engine, shape: Shape): Promise<Trainer> {
  const { table, count, width, classes, seeds, batch } = shape
  const stride = strideOf(width)
  const rows = seeds.length * batch
  // A GPU keeps the features and gathers from them. On a software driver a gather costs three times the rest of the
  // step, and copying the rows here next to nothing; so too where the table is larger than a binding.
  const onDevice = engine.target.adapterClass === 'gpu' && table.byteLength <= engine.target.maxBindingBytes
  const cached = onDevice ? variable('probe.features', [count, stride], () => table) : undefined
  const x = cached ? gather(cached, input('index', [rows], 'u32')) : input('rows', [rows, stride])
  const labels = input('labels', [rows], 'u32')
  const columns = filled(classes)
  const weights = variable('probe.weights', [seeds.length, stride, columns], initialWeights(width, classes, seeds))
  const logits = matmul(reshape(x, [seeds.length, batch, stride]), weights)
  const losses = crossEntropyRows(reshape(logits, [rows, columns]), labels, {
    labelSmoothing: LABEL_SMOOTHING,
    classes,
  })
  const optimizer = adam([weights], { weightDecay: WEIGHT_DECAY })
  const updates = optimizer.updates(gradients(sum(losses), [weights], input('share', [1])), constant([LEARNING_RATE]))
  const program: Program = await engine.compile({ label: 'linear probe', updates })
  const gathered = new Float32Array(cached ? 0 : rows * stride)
  return {
    weights,
    async step(index, labels, share) {
      const inputs: Record<string, TypedArray> = { labels, share }
      if (cached) inputs.index = index
      else {
        for (let i = 0; i < rows; i++)
          gathered.set(table.subarray(index[i] * stride, (index[i] + 1) * stride), i * stride)
        inputs.rows = gathered
      }
      await program.run(inputs)
    },
    destroy() {
      program.destroy()
      for (const v of [weights, ...optimizer.state, ...(cached ? [cached] : [])]) engine.release(v)
    },
  }
}

/** x · weight + bias in f64 here: a few hundred rows a millisecond, and no further program. weight: [D, classes] */
export function applyLinear(x: Float32Array, width: number, weight: Float32Array, bias: Float32Array): Float32Array {
  const classes = bias.length
  const count = x.length / width
  const logits = new Float32Array(count * classes)
  const sums = new Float64Array(classes)
  for (let i = 0; i < count; i++) {
    sums.set(bias)
    for (let d = 0; d < width; d++) {
      const value = x[i * width + d]
      for (let c = 0; c < classes; c++) sums[c] += value * weight[d * classes + c]
    }
    logits.set(sums, i * classes)
  }
  return logits
}

/** Shares of the rows of logits [N, classes] whose label is the largest, or among the largest five. */
export function accuracies(logits: Float32Array, labels: ArrayLike<number>): { top1: number; top5: number } {
  const classes = logits.length / labels.length
  const ranks = Uint32Array.from(labels, (label, i) => rankOf(logits, i * classes, classes, label))
  const within = (k: number): number => ranks.filter((rank) => rank < k).length / ranks.length
  return { top1: within(1), top5: within(5) }
}

/** How many classes come before `label`: larger logits, equal ones of smaller number, and whatever is not a number. */
function rankOf(logits: Float32Array, at: number, classes: number, label: number): number {
  const own = logits[at + label]
  let rank = 0
  for (let c = 0; c < classes; c++) {
    const other = logits[at + c]
    if (c !== label && !(other < own) && (other !== own || c < label)) rank++
  }
  return rank
}
