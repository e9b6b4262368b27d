/** What must hold between the options of a configuration. */
import { cropGroups } from '../augment/recipe.js'
import { objectives } from '../objectives/index.js'
import type { PretrainConfig } from './config.js'
import { ConfigError } from './config_error.js'
import { quoted } from './messages.js'
import { takesClean } from './objective_options.js'

/** Options of objectives with a predictor that are no parameters of the loss. */
export const predictorFields = ['predictorHidden', 'predictorNorm', 'targetSchedule'] as const

/** Whether an objective has the part of the network that an option is about. */
const hasPart = (objective: PretrainConfig['objective'], name: (typeof predictorFields)[number]): boolean =>
  name === 'targetSchedule' ? objectives[objective].needs === 'target' : objectives[objective].needs !== undefined

/**
 * Checks the options together.
 *
 * @returns the same configuration
 * @throws ConfigError in one line that names the options and the remedy
 */
export function consistent(config: PretrainConfig): PretrainConfig {
  const { viewChunk, views, bn, objective, augmentation, accumulate, warmupEpochs, epochs, adaptiveLambda } = config
  const { freezeStages, init, secondGradient, radius, precision, gateBudget } = config
  const chunk = `\`viewChunk\` ${viewChunk}`
  try {
    cropGroups(augmentation, views)
  } catch (error) {
    throw new ConfigError((error as Error).message)
  }
  if (adaptiveLambda && !objectives[objective].changing)
    throw new ConfigError(`\`adaptiveLambda\`: \`objective\` ${objective} has no λ that can change; barlow-twins has`)
  for (const name of predictorFields)
    if (config[name] !== undefined && !hasPart(objective, name))
      throw new ConfigError(
        `${quoted(name)} ${config[name]}: \`objective\` ${objective} has no ${name === 'targetSchedule' ? 'target; byol has' : 'predictor; byol and fastsiam have'}`,
      )
  if (freezeStages !== undefined && init === undefined)
    throw new ConfigError(`\`freezeStages\` ${freezeStages}: would keep random weights; give weights with \`init\``)
  if (warmupEpochs > epochs)
    throw new ConfigError(`\`warmupEpochs\` ${warmupEpochs}: must be at most the run's \`epochs\` ${epochs}`)
  if (radius !== undefined && secondGradient !== 'sam')
    throw new ConfigError(`\`radius\` ${radius}: only \`secondGradient\` sam has a radius`)
  if (gateBudget !== undefined && (precision === 'f16' || viewChunk !== undefined || objectives[objective].needs))
    throw new ConfigError(
      `\`gateBudget\` ${gateBudget}: needs \`precision\` f32, all views at once (no \`viewChunk\`) and an objective without a predictor`,
    )
  if (secondGradient !== undefined && accumulate > 1)
    throw new ConfigError(
      `\`secondGradient\` ${secondGradient}: cannot be combined with \`accumulate\` ${accumulate}: use a larger \`batch\``,
    )
  if (secondGradient === 'extragradient' && precision === 'f16')
    throw new ConfigError('`secondGradient` extragradient: needs unscaled gradients: train with `precision` f32')
  if (viewChunk === undefined) return config
  if (secondGradient !== undefined)
    throw new ConfigError(
      `${chunk}: \`secondGradient\` ${secondGradient} needs all views in memory at once: leave one of them out`,
    )
  if (bn === 'joint')
    throw new ConfigError(
      `${chunk}: joint batch-norm needs all views at once; use per-view statistics with \`bn\` per-view`,
    )
  if (views % viewChunk) throw new ConfigError(`${chunk}: must divide the number of views, \`views\` ${views}`)
  if (objectives[objective].needs)
    throw new ConfigError(`${chunk}: \`objective\` ${objective} needs both views at once`)
  if (takesClean(config))
    throw new ConfigError(`${chunk}: \`objective\` ${objective} needs the clean image with the views at once`)
  if (augmentation.crops)
    throw new ConfigError(`${chunk}: views of several sizes (augmentation.crops) must be in memory at once`)
  return config
}
