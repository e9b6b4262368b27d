/** What ends a run whose training has gone wrong. */
import { objectiveOptions, type PretrainConfig } from '../config/config.js'
import { objectives } from '../objectives/index.js'

/** A smaller loss scale has been halved more than 32 times: no scale would help. */
const LEAST_LOSS_SCALE = 2 ** -16

/** The loss became infinite or not a number, or gradients overflow at every loss scale. */
export class DivergedError extends Error {
  override name = 'DivergedError'
}

/** What a step read. */
export interface StepReading {
  step: number
  loss: number
  /** With adaptiveLambda: λ in this step. */
  lambda?: number
  /** With f16: the loss scale after the step. */
  lossScale?: number
}

/** @throws DivergedError that names the step and the options to change */
export function refuseDivergence(config: PretrainConfig, { step, loss, lambda, lossScale }: StepReading): void {
  const orInF32 = config.precision === 'f16' ? ', or train with `precision` f32' : ''
  const remedy = `lower \`lr\` (now ${config.lr})`
  if (!Number.isFinite(loss))
    throw new DivergedError(`the loss is ${loss} at step ${step}: ${remedy}${orWeaker(config, lambda)}${orInF32}`)
  if (lossScale !== undefined && lossScale < LEAST_LOSS_SCALE)
    throw new DivergedError(`the gradients overflow f16 at step ${step}, whatever the loss scale: ${remedy}${orInF32}`)
}

/** The other remedy for a loss that diverges: a weaker constraint. */
function orWeaker(config: PretrainConfig, lambda: number | undefined): string {
  const { parameter, weaker } = objectives[config.objective].remedy
  const now = parameter === 'lambda' && lambda !== undefined ? lambda : objectiveOptions(config)[parameter]
  return weaker ? ` or ${weaker} \`${parameter}\` (now ${String(now)})` : ''
}
