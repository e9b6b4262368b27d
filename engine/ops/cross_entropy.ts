/** Log-softmax cross-entropy with label smoothing. */
import { defineOp, ShapeError, show, type Value } from '../value.js'
import { checkFloat, checkRank, rowSharing } from './common.js'
import { mean } from './reduce.js'

interface Attributes {
  smoothing: number
  /** The number of columns, from the first on, that are classes. */
  classes: number
}

const crossEntropyOp = defineOp<Attributes>({
  name: 'crossEntropy',
  infer: ([logits, labels], { smoothing, classes }) => {
    checkFloat('crossEntropy', logits)
    checkRank('crossEntropy', 'logits', logits, 2)
    if (labels.dtype !== 'u32' || labels.shape.length !== 1 || labels.shape[0] !== logits.shape[0])
      throw new ShapeError(
        `crossEntropy: labels ${show(labels.shape)} ${labels.dtype} must be [N] u32 for logits ${show(logits.shape)}`,
      )
    if (!(smoothing >= 0 && smoothing < 1))
      throw new ShapeError(`crossEntropy: label smoothing ${smoothing} must be in [0, 1)`)
    if (!Number.isInteger(classes) || classes < 1 || classes > logits.shape[1])
      throw new ShapeError(
        `crossEntropy: ${classes} classes must be 1 to the ${logits.shape[1]} columns of logits ${show(logits.shape)}`,
      )
    return [{ shape: labels.shape, dtype: 'f32' }]
  },
  gradient: ({ inputs: [logits, labels], attributes }, [g]) => [
    crossEntropyGradientOp([logits, labels, g!], attributes)[0],
    undefined,
  ],
  lower: ({ inputs: [logits, labels], outputs: [loss], attributes }, context) => {
    const { constants, workgroups } = rowSharing(context, logits.shape[0], attributes.classes)
    context.dispatch({
      kernel: 'cross_entropy',
      constants,
      params: { rows: logits.shape[0], columns: logits.shape[1], ...attributes },
      buffers: { logits: context.of(logits), labels: context.of(labels), result: context.of(loss) },
      workgroups,
    })
  },
})

const crossEntropyGradientOp = defineOp<Attributes>({
  name: 'crossEntropyGradient',
  infer: ([logits]) => [{ shape: logits.shape, dtype: 'f32' }],
  lower: ({ inputs: [logits, labels, g], outputs: [d], attributes }, context) => {
    const { constants, workgroups } = rowSharing(context, logits.shape[0], attributes.classes)
    context.dispatch({
      kernel: 'cross_entropy',
      constants: { ...constants, GRADIENT: true },
      params: { rows: logits.shape[0], columns: logits.shape[1], ...attributes },
      buffers: { logits: context.of(logits), labels: context.of(labels), g: context.of(g), result: context.of(d) },
      workgroups,
    })
  },
})

/** A row with this label does not contribute to the loss. It marks the unused rows of a partly filled batch. */
export const MASKED_LABEL = 0xffffffff

export interface CrossEntropyOptions {
  /** Share of the target that is spread evenly over all classes; 0 by default. */
  labelSmoothing?: number
  /** The number of columns, from the first on, that are classes; the rest is padding. All columns by default. */
  classes?: number
}

/**
 * Cross-entropy of each row, [N]; 0 if the row's label is not a class (MASKED_LABEL). logits: [N, C]; labels: [N] u32.
 */
export const crossEntropyRows = (
  logits: Value,
  labels: Value,
  { labelSmoothing = 0, classes = logits.shape[1] }: CrossEntropyOptions = {},
): Value => crossEntropyOp([logits, labels], { smoothing: labelSmoothing, classes })[0]

/** Mean cross-entropy over the N rows, a scalar [1], like PyTorch's cross_entropy. */
export const crossEntropy = (logits: Value, labels: Value, options: CrossEntropyOptions = {}): Value =>
  mean(crossEntropyRows(logits, labels, options))
