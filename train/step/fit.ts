/** Whether a training step fits an adapter and its memory, by planning alone: nothing is allocated. */
import { sharedPeakBytes, type Engine, type Plan, type ProgramSpec } from '../../engine/index.js'
import { emptyImages } from '../augment/views.js'
import { ConfigError, resolveConfig, type PretrainConfig } from '../config/config.js'
import { describeAccumulatedStep } from './accumulated.js'
import { describeChunkedStep } from './chunked.js'
import { buildNetwork } from './network.js'
import { refuseOversized } from './network_size.js'
import { describeStep } from './whole.js'

/** Where a step runs. */
export interface Room {
  readonly engine: Pick<Engine, 'plan' | 'target'>
  /** Height and width of the source images, in pixels. */
  readonly side: number
  /** Bytes that the step may take; without it only the adapter's limits count. */
  readonly memory?: number
}

/** Smallest values that are suggested. */
const LEAST = { batch: 2, width: 8, size: 16 }

/**
 * Bytes of a training step on the device: network, optimiser, activations and the images of one step.
 *
 * @throws Error that names the op whose result or operand is larger than the adapter allows
 */
export function stepBytes({ engine, side }: Room, config: PretrainConfig): number {
  const plans = specsOf(engine, side, config).map((spec) => engine.plan(spec))
  return sharedPeakBytes(plans) + variableBytes(plans)
}

function specsOf({ target }: Room['engine'], side: number, config: PretrainConfig): ProgramSpec[] {
  const { batch, accumulate, viewChunk } = config
  const images = emptyImages({ count: batch * accumulate, height: side, width: side }, target.maxBindingBytes)
  const network = buildNetwork(config)
  refuseOversized(network, config, target)
  if (viewChunk !== undefined) {
    const { forward, loss, backward, update } = describeChunkedStep(images, network, { ...config, viewChunk })
    return [forward, loss, backward, update]
  }
  if (accumulate > 1) {
    const { micro, update } = describeAccumulatedStep(images, network, config)
    return [micro, update]
  }
  return [describeStep(images, network, config).spec]
}

/** Bytes of all Variables of the plans, each counted once. */
function variableBytes(plans: readonly Plan[]): number {
  const bytes = new Map<unknown, number>()
  for (const { storages } of plans)
    for (const { kind, variable, ...storage } of storages)
      if (kind === 'variable') bytes.set(variable!.arena?.arena ?? variable, storage.bytes)
  return [...bytes.values()].reduce((a, b) => a + b, 0)
}

/** Why a step does not fit; undefined if it fits. */
function problemOf(room: Room, config: PretrainConfig): string | undefined {
  let bytes: number
  try {
    bytes = stepBytes(room, config)
  } catch (error) {
    return `does not fit the adapter: ${(error as Error).message}`
  }
  const { memory = Infinity } = room
  return bytes <= memory ? undefined : `needs ${mebibytes(bytes)} of memory, and ${mebibytes(memory)} are available`
}

/** The first of some configurations that fits. */
export const firstThatFits = (room: Room, configs: Iterable<PretrainConfig>): PretrainConfig | undefined => {
  for (const config of configs) if (problemOf(room, config) === undefined) return config
  return undefined
}

/**
 * Refuses a configuration whose step does not fit.
 *
 * @throws ConfigError that names the values of `batch`, `viewChunk`, `width` or the image size that would fit, each alone
 */
export function refuseUnfit(room: Room, config: PretrainConfig): void {
  refuseOversized(buildNetwork(config), config, room.engine.target)
  const problem = problemOf(room, config)
  if (problem === undefined) return
  const { batch, views, width, augmentation } = config
  const found = remedies(room, config)
  const remedy = found.length ? `use ${found.join(', or ')}` : 'lower `batch`, `width` and `imageSize` together'
  throw new ConfigError(
    `a step of \`batch\` ${batch} with \`views\` ${views}, \`width\` ${width} and ${augmentation.size} pixels ${problem.replace(/: use a smaller.*/, '')}: ${remedy}`,
  )
}

/** Changes of one option, each the smallest that fits. */
function remedies(room: Room, config: PretrainConfig): string[] {
  const { batch, width, augmentation, bn } = config
  const sizes = halves(augmentation.size, LEAST.size).map((size) => ({
    ...config,
    augmentation: { ...augmentation, size },
  }))
  const smaller = firstThatFits(
    room,
    halves(batch, LEAST.batch).map((less) => ({ ...config, batch: less })),
  )
  const chunked = firstThatFits(room, chunkings(config))
  const narrower = firstThatFits(
    room,
    halves(width, LEAST.width).map((less) => ({ ...config, width: less })),
  )
  const found = [
    smaller && `\`batch\` ${smaller.batch}`,
    chunked && `\`viewChunk\` ${chunked.viewChunk}${bn === 'joint' ? ' with `bn` per-view' : ''}`,
    narrower && `\`width\` ${narrower.width}`,
  ].filter((remedy) => remedy !== undefined)
  if (found.length > 0 || augmentation.crops) return found
  const size = firstThatFits(room, sizes)?.augmentation.size
  return size === undefined ? [] : [`\`imageSize\` ${size}`]
}

/** `value` / 2, / 4, … down to `least`, in whole numbers. */
function halves(value: number, least: number): number[] {
  const list = []
  for (let half = Math.floor(value / 2); half >= least; half = Math.floor(half / 2)) list.push(half)
  return list
}

/** The configuration with fewer views in memory at once, largest first; none where the step must have all views. */
function chunkings(config: PretrainConfig): PretrainConfig[] {
  const { views, viewChunk = views } = config
  const chunks = Array.from({ length: views }, (_, i) => views - i).filter((k) => k < viewChunk && views % k === 0)
  return chunks.flatMap((chunk) => {
    try {
      return [resolveConfig({ ...config, viewChunk: chunk, bn: 'per-view' })]
    } catch (error) {
      if (error instanceof ConfigError) return []
      throw error
    }
  })
}

export const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20).toLocaleString('en')} MiB`
