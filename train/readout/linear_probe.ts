/**
 * The paper's linear probe: one linear layer on cached features, trained with Adam (learning rate 1e-3, weight decay
 * 1e-6) for 200 epochs of batches of 512 by cross-entropy with label smoothing .1.
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
export const PROBE_BATCH = 512

export interface LinearProbeOptions {
  classes: number
  /** One probe is trained for each seed, which determines the initial weights and the order of rows. */
  seeds: readonly number[]
  epochs?: number
  /** Rows per step, 512 by default. */
  batch?: number
  /** Called after each epoch. */
  onEpoch?(done: number, total: number): void
}

export interface LinearProbe {
  seed: number
  /** [D, classes] */
  weight: Float32Array
  /** [classes] */
  bias: Float32Array
  /** Logits of the test features, [N, classes]. */
  logits: Float32Array
  /** Shares of the test features whose label has the largest logit, or one of the five largest. */
  top1: number
  top5: number
}

/**
 * Trains one probe per seed, all in one program, and applies them to the test features.
 *
 * @throws when there are no features or no seeds, or when the widths of the two sets differ
 */
export async function linearProbe(
  engine: Engine,
  train: LabelledFeatures,
  test: LabelledFeatures,
  { classes, seeds, epochs = EPOCHS, batch: wanted = PROBE_BATCH, onEpoch }: LinearProbeOptions,
): Promise<LinearProbe[]> {
  const width = widthOf(train, test)
  if (!seeds.length) throw new Error('linear probe: at least one seed is needed')
  const count = train.labels.length
  const batch = Math.min(wanted, count)
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

/** Pads a number of columns to whole vec4s, so that no product has to pad its inputs in each step. */
const padded = (columns: number): number => Math.ceil(columns / 4) * 4

/** Padded number of columns of the features and a column of ones. */
const strideOf = (width: number): number => padded(width + 1)

/** The weights of seed number `s` without padding, [width + 1, classes]. The last row is the bias. */
function columnsOf(weights: Float32Array, s: number, width: number, classes: number): Float32Array {
  const columns = padded(classes)
  const first = s * strideOf(width) * columns
  const own = new Float32Array((width + 1) * classes)
  for (let row = 0; row <= width; row++)
    own.set(weights.subarray(first + row * columns, first + row * columns + classes), row * classes)
  return own
}

/** [N, D] → [N, stride]: adds a column of ones, so that the bias is a row of the weights, and padding with zeros. */
function withOnes(features: Float32Array, count: number, width: number): Float32Array<ArrayBuffer> {
  const stride = strideOf(width)
  const table = new Float32Array(count * stride)
  for (let i = 0; i < count; i++) {
    table.set(features.subarray(i * width, (i + 1) * width), i * stride)
    table[i * stride + width] = 1
  }
  return table
}

/** PyTorch's default for a linear layer: weights and bias from U(±1 / √D). [seeds, stride, padded classes]. */
function initialWeights(width: number, classes: number, seeds: readonly number[]): Float32Array<ArrayBuffer> {
  const columns = padded(classes)
  const size = strideOf(width) * columns
  const bound = 1 / Math.sqrt(width)
  const weights = new Float32Array(seeds.length * size)
  seeds.forEach((seed, s) => {
    const stream = new RandomStream(seed, Purpose.readout)
    // The padding starts at 0 and has no gradient.
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
  /** [seeds, stride, padded classes] */
  weights: Variable
  /**
   * @param index rows of the table, [seeds · batch]
   * @param labels [seeds · batch]; MASKED_LABEL excludes a row
   * @param share 1 / (number of unmasked rows in the batch of a seed), [1]
   */
  step(index: Uint32Array, labels: Uint32Array, share: Float32Array): Promise<void>
  destroy(): void
}

/** Records one step of all seeds. The gradients do not need the value of the loss, so it is not computed. */
async function buildTrainer(engine: Engine, shape: Shape): Promise<Trainer> {
  const { table, count, width, classes, seeds, batch } = shape
  const stride = strideOf(width)
  const rows = seeds.length * batch
  // A GPU keeps the features and gathers rows from them. On a software driver a gather costs three times the rest of the
  // step, so the CPU copies the rows instead. It also does so when the table is larger than a binding.
  const onDevice = engine.target.adapterClass === 'gpu' && table.byteLength <= engine.target.maxBindingBytes
  const cached = onDevice ? variable('probe.features', [count, stride], () => table) : undefined
  const x = cached ? gather(cached, input('index', [rows], 'u32')) : input('rows', [rows, stride])
  const labels = input('labels', [rows], 'u32')
  const columns = padded(classes)
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

/**
 * x · weight + bias, summed in f64 on the CPU: some hundred rows per millisecond, without a further program.
 *
 * @param x [N, D]
 * @param weight [D, classes]
 * @returns [N, classes]
 */
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

/** Shares of the rows of logits [N, classes] whose label has the largest logit, or one of the five largest. */
export function accuracies(logits: Float32Array, labels: ArrayLike<number>): { top1: number; top5: number } {
  const classes = logits.length / labels.length
  const ranks = Uint32Array.from(labels, (label, i) => rankOf(logits, i * classes, classes, label))
  const within = (k: number): number => ranks.filter((rank) => rank < k).length / ranks.length
  return { top1: within(1), top5: within(5) }
}

/** Number of classes before `label`: larger logits, equal logits of a smaller class, and logits that are NaN. */
function rankOf(logits: Float32Array, at: number, classes: number, label: number): number {
  const own = logits[at + label]
  let rank = 0
  for (let c = 0; c < classes; c++) {
    const other = logits[at + c]
    if (c !== label && !(other < own) && (other !== own || c < label)) rank++
  }
  return rank
}
