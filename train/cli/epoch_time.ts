/** On a processor: says once how long an epoch takes, and what would be quicker. */
import { duration } from '../report/text.js'
import type { StepMetrics } from '../run/pretrain.js'
import type { PretrainConfig } from '../config/config.js'
import { STEPS_BEFORE_RATE } from './display.js'

/** Shorter runs need no advice, in seconds. */
const SHORT_RUN = 600
/** After this many seconds the rate is known even from fewer steps. */
const LONG_ENOUGH = 5

/** @param images per epoch */
export function epochTime(
  { batch, accumulate, epochs }: Pick<PretrainConfig, 'batch' | 'accumulate' | 'epochs'>,
  images: number,
  say: (line: string) => void,
): (metrics: StepMetrics) => void {
  const perStep = batch * accumulate
  const stepsPerEpoch = Math.floor(images / perStep)
  let [seen, since, said] = [0, 0, false]
  return ({ step, steps, imagesPerSecond }) => {
    if (seen++ === 0) since = performance.now()
    const known = seen > STEPS_BEFORE_RATE || (seen > 1 && performance.now() - since > 1000 * LONG_ENOUGH)
    if (said || !known || !(imagesPerSecond > 0)) return
    said = true
    const secondsPerStep = perStep / imagesPerSecond
    const left = (steps - step) * secondsPerStep
    if (left < SHORT_RUN) return
    const epoch = `an epoch takes about ${duration(stepsPerEpoch * secondsPerStep)}`
    const rest = epochs > 1 ? ` and the run ${duration(left)}` : ''
    say(`${epoch}${rest}; a smaller --width, --image-size or --views is quicker, and --epochs sets the length`)
  }
}
