/** Which images of a step belong to a rank. */
import type { Collective } from '../../engine/index.js'
import type { PretrainConfig } from '../config/config.js'

/**
 * The images of a rank: the same range of every micro-batch, so that the ranks' images together are those that one rank
 * would take.
 *
 * @param images of the step [accumulate · batch]
 * @param config of the whole run
 * @returns [accumulate · batch / size]
 */
export function imagesOfRank(
  images: Uint32Array,
  { batch }: Pick<PretrainConfig, 'batch'>,
  { rank, size }: Pick<Collective, 'rank' | 'size'>,
): Uint32Array {
  const share = batch / size
  return images.filter((_, i) => Math.floor((i % batch) / share) === rank)
}
