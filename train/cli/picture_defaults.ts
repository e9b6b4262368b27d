/** Options that pretraining on a folder of pictures chooses by itself, so that the first run works on this machine. */
import { availableMemory } from 'node:process'
import { totalmem } from 'node:os'
import type { Engine } from '../../engine/index.js'
import { ConfigError, overlay, resolveConfig, type PartialConfig, type PretrainConfig } from '../config/config.js'
import { counted } from '../report/text.js'
import { firstThatFits, mebibytes, stepBytes, type Room } from '../step/fit.js'

/** Side of a packed picture by the side of a view. */
const RESOLUTION_BY_SIZE = 1.25
/** WebGPU does not tell how much memory a GPU has; most have 8 GiB or more. */
const GPU_BUDGET = 6 * 2 ** 30
/** Share of the memory that a step may take by default. */
const SHARE = 0.5
const LARGEST_BATCH = 256
/** A network for a processor: a step takes seconds. */
const ON_PROCESSOR = { width: 16, size: 64, batch: 64 }
/** Steps per epoch that a small folder has at least. */
const STEPS_PER_EPOCH = 4

/** Bytes that a training step may take on a software driver, which uses the machine's memory; unknown for GPUs. */
export const memoryLimit = ({ target }: Engine): number | undefined =>
  target.adapterClass === 'cpu' ? availableMemory() : undefined

const defaultBudget = (engine: Engine): number => {
  const limit = memoryLimit(engine)
  return limit === undefined ? Math.min(GPU_BUDGET, SHARE * totalmem()) : SHARE * limit
}

export interface Chosen {
  config: PretrainConfig
  /** Two lines: what was chosen, and why. */
  note?: string
}

/**
 * The image size and `resolution` where the user gives none.
 *
 * @param given what the user gives
 * @param usualSide at which pictures are packed by default, in pixels
 */
export function pictureSizes(
  given: PartialConfig,
  { target }: Engine,
  usualSide: number,
): Pick<PartialConfig, 'augmentation' | 'resolution'> {
  const onProcessor = target.adapterClass === 'cpu'
  const chosen: PartialConfig = {}
  const { size, recipe, crops } = given.augmentation ?? {}
  if (onProcessor && size === undefined && recipe === undefined && crops === undefined)
    chosen.augmentation = { size: ON_PROCESSOR.size }
  if (given.resolution === undefined && given.fidelity === undefined) {
    const { crops: groups = [], size: viewSize } = resolveConfig(overlay(given, chosen)).augmentation
    const side = Math.ceil(RESOLUTION_BY_SIZE * Math.max(viewSize, ...groups.map((group) => group.size)))
    chosen.resolution = onProcessor ? side : Math.max(usualSide, side)
  }
  return chosen
}

/**
 * Fills in `width`, `batch`, the image size and `resolution` where the user gives none.
 *
 * @param given what the user gives; it always wins
 * @param pictures in the folder
 * @param usualSide at which pictures are packed by default, in pixels
 */
export function pictureDefaults(given: PartialConfig, engine: Engine, pictures: number, usualSide: number): Chosen {
  if (pictures < 2)
    throw new ConfigError(`\`dataDir\` ${given.dataDir}: pretraining compares pictures, and the folder holds only one`)
  const onProcessor = engine.target.adapterClass === 'cpu'
  const chosen: PartialConfig = pictureSizes(given, engine, usualSide)
  if (onProcessor && given.width === undefined) chosen.width = ON_PROCESSOR.width
  const sized = resolveConfig(overlay(given, chosen))
  const room: Room = {
    engine,
    side: sized.resolution!,
    memory: defaultBudget(engine),
  }
  if (given.batch === undefined) {
    const most = Math.min(
      onProcessor ? ON_PROCESSOR.batch : LARGEST_BATCH,
      (sized.fraction * pictures) / (STEPS_PER_EPOCH * sized.accumulate),
    )
    const batches = powersOfTwo(most)
    // If none fits, the smallest is refused with its reason.
    chosen.batch =
      firstThatFits(
        room,
        batches.map((batch) => ({ ...sized, batch })),
      )?.batch ?? batches[batches.length - 1]
  }
  const config = resolveConfig(overlay(given, chosen))
  return { config, note: noteOf(chosen, config, pictures, room) }
}

function noteOf(chosen: PartialConfig, config: PretrainConfig, pictures: number, room: Room): string | undefined {
  const { batch, width, resolution, augmentation } = chosen
  const named = Object.entries({ width, imageSize: augmentation?.size, batch, resolution })
  const values = named.filter(([, value]) => value !== undefined).map(([name, value]) => `\`${name}\` ${value}`)
  const bytes = bytesIfFits(room, config)
  if (values.length === 0 || bytes === undefined) return undefined
  const small = width !== undefined || augmentation ? 'sized for a processor: ' : ''
  return (
    `${counted(pictures, 'picture')}: chose ${values.join(', ')}\n` +
    `(${small}a step takes ${mebibytes(bytes)}; options that you give win)`
  )
}

/** The bytes of a step; undefined if it does not fit, which is refused later. */
function bytesIfFits(room: Room, config: PretrainConfig): number | undefined {
  return firstThatFits({ ...room, memory: undefined }, [config]) && stepBytes(room, config)
}

/** Powers of two from the largest one up to `most` down to 2. */
function powersOfTwo(most: number): number[] {
  const list = []
  for (let power = 2; power <= Math.max(2, most); power *= 2) list.unshift(power)
  return list
}
