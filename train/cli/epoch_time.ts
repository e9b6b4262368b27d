/** On a processor: says once how long an epoch takes, and what would be quicker. */
import type { PretrainConfig } from '../config/config.js'
import { duration } from '../report/text.js'
import type { StepMetrics } from '../run/pretrain.js'

/** The first steps are slower and are not measured. */
const WARM_UP_STEPS = 3
/** Shorter runs need no advice, in seconds. */
const SHORT_RUN = 600
/** Seconds over which the rate is measured at least. */
const MEASURED = 5

/**
 * @param images per epoch
 * @param say prints a line
 * @param now a clock, in seconds
 */
export function epochTime(
  { batch, accumulate, epochs }: Pick<PretrainConfig, 'batch' | 'accumulate' | 'epochs'>,
  images: number,
  say: (line: string) => void,
  now = () => performance.now() / 1000,
): (metrics: Pick<StepMetrics, 'step' | 'steps'>) => void {
  const stepsPerEpoch = Math.floor(images / (batch * accumulate))
  let [seen, since, done] = [0, 0, false]
  return ({ step, steps }) => {
    if (++seen <= WARM_UP_STEPS) since = now()
    const elapsed = now() - since
    if (done || elapsed < MEASURED) return
    done = true
    const secondsPerStep = elapsed / (seen - WARM_UP_STEPS)
    const left = (steps - step) * secondsPerStep
    if (left < SHORT_RUN) return
    const rest = epochs > 1 ? `, the rest of the run ${duration(left)}` : ''
    say(`an epoch takes about ${duration(stepsPerEpoch * secondsPerStep)}${rest};`)
    say('a smaller --width, --image-size or --views is quicker; --epochs sets the length')
  }
}
