/** Refuses networks that no buffer of the adapter can hold, before any of their weights are drawn. */
import type { Target } from '../../engine/index.js'
import type { StateDict } from '../../models/index.js'
import { ConfigError, type PretrainConfig } from '../config/config.js'
import { buildNetwork, type Network } from './network.js'

/** @throws ConfigError in one line that names the option to lower, and a number that fits */
export function refuseOversized(network: Network, config: PretrainConfig, { maxBufferBytes }: Target): void {
  const { width, projectorDim, predictorHidden } = config
  const predictorOption =
    predictorHidden === undefined ? `\`projectorDim\` ${projectorDim}` : `\`predictorHidden\` ${predictorHidden}`
  const parts = [
    { name: 'backbone', option: `\`width\` ${width}` },
    { name: 'projector', option: `\`projectorDim\` ${projectorDim}` },
    { name: 'predictor', option: predictorOption },
  ] as const
  for (const { name, option } of parts) {
    const bytes = bytesOf(partsOf(network)[name])
    if (bytes <= maxBufferBytes) continue
    const [field, value] = option.split(' ')
    const least = largestThatFits(config, field.replaceAll('`', ''), Number(value), name, maxBufferBytes)
    throw new ConfigError(
      `${option}: the weights of the ${name} take ${gibibytes(bytes)}, over the adapter's largest buffer of ${gibibytes(maxBufferBytes)}: use ${least === undefined ? 'a smaller number' : `${field} ${least}`}`,
    )
  }
}

/** The largest power of two below `value` with which a part of the network fits its buffer. No weights are drawn. */
function largestThatFits(
  config: PretrainConfig,
  field: string,
  value: number,
  name: keyof ReturnType<typeof partsOf>,
  most: number,
): number | undefined {
  for (let n = 2 ** Math.ceil(Math.log2(value) - 1); n >= 1; n /= 2)
    if (bytesOf(partsOf(buildNetwork({ ...config, [field]: n }))[name]) <= most) return n
  return undefined
}

const partsOf = ({ backbone, projector, predictor }: Network) => ({ backbone, projector, predictor })

/** The parameters of a part are in one buffer. */
const bytesOf = (part: { dict: StateDict } | undefined): number => part?.dict.parameters[0]?.arena?.arena.bytes ?? 0

const gibibytes = (bytes: number): string =>
  `${(bytes / 2 ** 30).toLocaleString('en', { maximumFractionDigits: 1 })} GiB`
