/**
 * A step that also takes the smaller last batch of an epoch: a second recording of the same step for fewer images, with the
 * same network and optimiser.
 */
import { ROW_FLOATS } from '../augment/draw.js'
import type { TrainingStep } from './training_step.js'

/**
 * @param whole takes `rows` views
 * @param last takes fewer
 */
export function withLastBatch(whole: TrainingStep, last: TrainingStep, rows: number): TrainingStep {
  let latest = whole
  return {
    ...whole,
    peakBytes: whole.peakBytes + last.peakBytes,
    run(inputs) {
      latest = inputs.rows.length === rows * ROW_FLOATS ? whole : last
      return latest.run(inputs)
    },
    loss: () => latest.loss(),
    ...(whole.parts && { parts: { names: whole.parts.names, read: () => latest.parts!.read() } }),
    ...(whole.lossScale && { lossScale: () => latest.lossScale!() }),
    ...(whole.gradientNorm && { gradientNorm: () => latest.gradientNorm!() }),
    ...(whole.logits && { logits: () => latest.logits!() }),
    destroy() {
      last.destroy()
      whole.destroy()
    },
  }
}
