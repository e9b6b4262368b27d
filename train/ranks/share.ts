/** Which images of a step belong to a rank. */
import type { Collective } from '../../engine/index.js'
import type { PretrainConfig } from '../config/config.js'

/** This rank's part of a list: `count` items from `start` on. No rank has more than `share` items. */
export function shareOf(
  { rank, size }: Pick<Collective, 'rank' | 'size'>,
  length: number,
): { share: number; start: number; count: number } {
  const share = Math.ceil(length / size)
  const start = Math.min(length, rank * share)
  return { share, start, count: Math.min(length, start + share) - start }
}

/**
 * Shares work on a list between ranks: each does a part, and all get the whole.
 *
 * @param length of the list
 * @param width numbers of the result for each item
 * @param work gives the results [count, width] of the items from `start` on; it is not called for an empty part
 * @returns [length, width]
 */
export async function inShares(
  ranks: Collective,
  { length, width }: { length: number; width: number },
  work: (start: number, count: number) => Promise<Float32Array>,
): Promise<Float32Array<ArrayBuffer>> {
  const { share, start, count } = shareOf(ranks, length)
  const own = new Float32Array(share * width)
  if (count > 0) own.set(await work(start, count))
  const all = await ranks.allGather(own)
  return all.slice(0, length * width) as Float32Array<ArrayBuffer>
}

/** A rank's images of each step. */
export function* sharesOf(
  order: Iterable<{ images: Uint32Array }>,
  config: Pick<PretrainConfig, 'batch'>,
  ranks: Pick<Collective, 'rank' | 'size'>,
): Generator<{ images: Uint32Array }> {
  for (const { images } of order) yield { images: imagesOfRank(images, config, ranks) }
}

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
