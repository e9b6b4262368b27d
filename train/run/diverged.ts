/** What ends a run whose training has gone wrong, and what it is warned of. */
import { objectiveOptions, type PretrainConfig } from '../config/config.js'
import { LARGE_RMS, type WeightReading } from '../diagnostics/weight_health.js'
import { objectives } from '../objectives/index.js'

/** A smaller loss scale has been halved more than 32 times: no scale would help. */
const LEAST_LOSS_SCALE = 2 ** -16
/** No run recovers from parameters of this root mean square: its steps no longer change what the network computes. */
const HOPELESS_RMS = 1e6

/** The loss or a weight became infinite or not a number, weights grew beyond use, or gradients overflow f16 for good. */
export class DivergedError extends Error {
  override name = 'DivergedError'
  /** With `debugNan`: some lines on the first op whose result is not finite. */
  detail?: string
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
  const remedy = `lower \`lr\` (now ${config.lr})`
  const inF32 = orInF32(config)
  if (!Number.isFinite(loss)) {
    const weaker = weakerConstraint(config, lambda)
    if (step > 1) {
      // The gradients of images without content can break the first update already.
      const options = [remedy, weaker, step === 2 && LOOK].filter(Boolean).join(' or ')
      throw new DivergedError(`the loss is ${loss} at step ${step}: ${options}${inF32}; ${DEBUG}`)
    }
    // No step has changed a weight yet.
    const others = [weaker, config.init !== undefined && 'check the weights of `init`', LOOK]
    throw new DivergedError(
      `the loss is ${loss} at step 1, before any step has changed a weight: ${others.filter(Boolean).join(' or ')}${inF32}; ${DEBUG}`,
    )
  }
  if (lossScale !== undefined && lossScale < LEAST_LOSS_SCALE)
    throw new DivergedError(`the gradients overflow f16 at step ${step}, whatever the loss scale: ${remedy}${inF32}`)
}

type Reading = WeightReading & { step: number }

/** @throws DivergedError if a Variable is not finite after a step */
export function refuseNotFinite(config: PretrainConfig, { step, notFinite }: Reading): void {
  if (notFinite.length === 0) return
  const more = notFinite.length > 1 ? ` (and ${notFinite.length - 1} more)` : ''
  throw new DivergedError(
    `'${notFinite[0]}'${more} holds a value that is not finite after step ${step}: lower \`lr\` (now ${config.lr})${orInF32(config)}; ${DEBUG}`,
  )
}

/** A line on parameters that have grown beyond a sane range, and whether the run can recover from that. */
export function grownWeights(
  { lr, weightDecay }: PretrainConfig,
  { step, largest: { name, rms } }: Reading,
): { line: string; hopeless: boolean } | undefined {
  if (rms <= LARGE_RMS) return undefined
  const size = rms === Infinity ? 'more than 1e+19' : rms.toPrecision(2)
  const grown = `'${name}' has grown to a root mean square of ${size} after step ${step}`
  const remedy = `lower \`lr\` (now ${lr})`
  return rms > HOPELESS_RMS
    ? { line: `${grown}, and no run recovers from that: ${remedy}`, hopeless: true }
    : {
        line: `${grown}; it should stay below ${LARGE_RMS}: ${remedy}, or raise \`weightDecay\` (now ${weightDecay})`,
        hopeless: false,
      }
}

const LOOK = 'look at the images'
const DEBUG = '`debugNan` names the op'

const orInF32 = ({ precision }: PretrainConfig): string =>
  precision === 'f16' ? ', or train with `precision` f32' : ''

/** The other remedy for a loss that diverges. */
function weakerConstraint(config: PretrainConfig, lambda: number | undefined): string | undefined {
  const { remedy } = objectives[config.objective]
  if (!remedy) return undefined
  const { parameter, weaker } = remedy
  const now = parameter === 'lambda' && lambda !== undefined ? lambda : objectiveOptions(config)[parameter]
  return weaker && `${weaker} \`${parameter}\` (now ${String(now)})`
}
