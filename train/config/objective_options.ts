/** What a configuration says of its objective. */
import { objectives, type ObjectiveOptions } from '../objectives/index.js'
import type { PretrainConfig } from './config.js'

/** The objective and its parameters. */
export type ObjectiveConfig = Pick<
  PretrainConfig,
  | 'objective'
  | 'lambda'
  | 'mu'
  | 'beta'
  | 'estimator'
  | 'distortion'
  | 'slices'
  | 'temperature'
  | 'symmetric'
  | 'targetRate'
>

/** The parameters of a configuration's objective. */
export const objectiveOptions = (config: ObjectiveConfig): ObjectiveOptions =>
  Object.fromEntries(
    objectives[config.objective].parameters.map((name) => [
      name,
      config[name as keyof ObjectiveConfig] as ObjectiveOptions[string],
    ]),
  )

/** Whether the step shows the clean image to the objective, as one more view after the others. */
export const takesClean = (config: ObjectiveConfig): boolean =>
  objectives[config.objective].takesClean?.(objectiveOptions(config)) ?? false
