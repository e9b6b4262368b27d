/** Refuses networks that no buffer of the adapter can hold, before any of their weights are drawn. */
import type { Target } from '../../engine/index.js'
import { ConfigError, type PretrainConfig } from '../config/config.js'
import type { Network } from './network.js'

/** @throws ConfigError in one line that names the option to lower */
export function refuseOversized(
  { backbone, projector, predictor }: Network,
  { width, projectorDim, predictorHidden }: PretrainConfig,
  { maxBufferBytes }: Target,
): void {
  const predictorOption =
    predictorHidden === undefined ? `\`projectorDim\` ${projectorDim}` : `\`predictorHidden\` ${predictorHidden}`
  const parts = [
    { name: 'backbone', option: `\`width\` ${width}`, dict: backbone.dict },
    { name: 'projector', option: `\`projectorDim\` ${projectorDim}`, dict: projector.dict },
    { name: 'predictor', option: predictorOption, dict: predictor?.dict },
  ]
  for (const { name, option, dict } of parts) {
    // The parameters of a network are in one buffer.
    const bytes = dict?.parameters[0]?.arena?.arena.bytes ?? 0
    if (bytes > maxBufferBytes)
      throw new ConfigError(
        `${option}: the weights of the ${name} take ${gibibytes(bytes)}, over the adapter's largest buffer of ${gibibytes(maxBufferBytes)}: use a smaller number`,
      )
  }
}

const gibibytes = (bytes: number): string =>
  `${(bytes / 2 ** 30).toLocaleString('en', { maximumFractionDigits: 1 })} GiB`
