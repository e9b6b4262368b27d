/** Batch normalisation with given statistics, and the running statistics that evaluation uses. */
import type { Assignment, Variable } from '../leaves.js'
import { defineOp, ShapeError, show, type Value } from '../value.js'
import type { BatchNormOptions } from './batch_norm.js'
import { applyLine, checkTypes, layoutOf, narrow, wide, wideTarget } from './batch_norm_layout.js'

/** Inputs x, mean, variance, scale, shift (, residual). */
const inferenceOp = defineOp<{ epsilon: number; relu: boolean }>({
  name: 'batchNormInference',
  infer: ([x, ...others]) => {
    const channels = x.shape[x.shape.length - 1]
    checkTypes('batchNormInference', x, others[4], others.slice(0, 4))
    for (const v of others.slice(0, 4))
      if (v.size !== channels)
        throw new ShapeError(`batchNormInference: ${show(v.shape)} does not fit the channels of x ${show(x.shape)}`)
    if (others[4] && show(others[4].shape) !== show(x.shape))
      throw new ShapeError(`batchNormInference: residual ${show(others[4].shape)} and x ${show(x.shape)} differ`)
    return [{ shape: x.shape, dtype: x.dtype }]
  },
  lower: (
    { inputs: [x, mean, variance, scale, shift, residual], outputs: [y], attributes: { epsilon, relu } },
    context,
  ) => {
    const layout = layoutOf(context, x, 1)
    const { c4 } = layout
    const gain = context.temporary(4 * c4)
    const offset = context.temporary(4 * c4)
    const [m, v, a, b] = [mean, variance, scale, shift].map((value) => wide(context, layout, value))
    context.dispatch({
      kernel: 'batch_norm_fold',
      params: { channels4: c4 / 4, epsilon },
      buffers: { mean: m, variance: v, scale: a, shift: b, gain, offset },
      workgroups: [Math.ceil(c4 / 4 / 64)],
    })
    const to = wideTarget(context, layout, y)
    const from = wide(context, layout, x)
    const added = residual && wide(context, layout, residual)
    applyLine(context, layout, { x: from, gain, offset, residual: added, y: to }, relu, x.dtype)
    narrow(context, layout, to, y)
  },
})

/** Batch-norm with given statistics ([C] each), for evaluation. Not differentiable. */
export function batchNormInference(
  x: Value,
  mean: Value,
  variance: Value,
  scale: Value,
  shift: Value,
  { epsilon = 1e-5, relu = false, residual }: Omit<BatchNormOptions, 'groups'> = {},
): Value {
  const inputs = [x, mean, variance, scale, shift]
  return inferenceOp(residual ? [...inputs, residual] : inputs, { epsilon, relu })[0]
}

/** Inputs: running mean and variance [C], mean and variance of the batch [groups · C]. */
const runningOp = defineOp<{ momentum: number; unbiased: number }>({
  name: 'runningStatistics',
  infer: ([mean, variance]) => [mean, variance].map(({ shape }) => ({ shape, dtype: 'f32' })),
  lower: ({ inputs, outputs: [nextMean, nextVariance], attributes: { momentum, unbiased } }, context) => {
    const [mean, variance, batchMean, batchVariance] = inputs
    const channels = mean.size
    context.dispatch({
      kernel: 'batch_norm_running',
      params: { groups: batchMean.size / channels, channels, momentum, unbiased },
      buffers: {
        batch_mean: context.of(batchMean),
        batch_variance: context.of(batchVariance),
        mean: context.inPlace(nextMean, mean),
        variance: context.inPlace(nextVariance, variance),
      },
      workgroups: [Math.ceil(channels / 64)],
    })
  },
})

/**
 * Running statistics after a batch: r ← (1 − momentum) r + momentum · s once for each group, in order. As in PyTorch,
 * the variance in s is the unbiased one, n / (n − 1) times the batch's. If the result is not finite, r does not change.
 *
 * @param count rows of each group
 */
export function updateRunningStatistics(
  running: { mean: Variable; variance: Variable },
  batch: { mean: Value; variance: Value },
  count: number,
  momentum = 0.1,
): Assignment[] {
  const inputs = [running.mean, running.variance, batch.mean, batch.variance]
  const [mean, variance] = runningOp(inputs, { momentum, unbiased: count / (count - 1) })
  return [
    { variable: running.mean, value: mean },
    { variable: running.variance, value: variance },
  ]
}
