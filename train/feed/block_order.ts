/**
 * The order of an epoch for images that lie together in blocks, as in shards: reading a block is cheap, reading one image
 * here and another there is not. The order is as random as it can be while few blocks are open at a time.
 *
 * The blocks are shuffled and dealt to lanes. Each lane is a queue of its own, shuffled within windows of a few blocks; a
 * batch takes the same number of images from each lane, in the order of the lanes. A rank takes a range of each batch, so
 * it reads the blocks of its own lanes only. Nothing here depends on the number of ranks.
 */
import { permutation, Purpose, RandomStream, shuffle } from '../../engine/index.js'

/** Images that are cheap to read together. */
export interface Blocks {
  /** [blocks + 1]: the first image of each block, ascending, then the number of images. */
  readonly starts: Uint32Array
}

/** Most lanes. A batch mixes images of at least as many blocks; with more ranks, some of them read the same blocks. */
const MOST_LANES = 64
/** A lane shuffles the images of so many blocks, on average. */
const BLOCKS_IN_WINDOW = 4

/** The number of lanes: the largest divisor of the batch, at most 64. */
export function lanesOf(batch: number): number {
  let lanes = Math.min(batch, MOST_LANES)
  while (batch % lanes) lanes--
  return lanes
}

/**
 * The images of an epoch in their order: a permutation of `indices`, a function of all arguments.
 *
 * @param indices of the images that the run trains on, ascending
 * @param batch images of a batch of all ranks
 */
export function blockOrder(
  indices: Uint32Array,
  { starts }: Blocks,
  { seed, epoch, batch }: { seed: number; epoch: number; batch: number },
): Uint32Array {
  const sequence = shuffledBlocks(indices, starts, seed, epoch)
  const lanes = lanesOf(batch)
  const ofLane = batch / lanes
  const batches = Math.floor(indices.length / batch)
  const length = batches * ofLane
  const window = Math.max(1, Math.round((BLOCKS_IN_WINDOW * indices.length) / Math.max(1, starts.length - 1)))
  const stream = new RandomStream(seed, Purpose.order)
  for (let lane = 0; lane < lanes; lane++) {
    const own = sequence.subarray(lane * length, (lane + 1) * length)
    // The windows of the lanes end at different times, so that reading is spread evenly.
    let first = 0
    let end = Math.ceil((window * (lane + 1)) / lanes)
    for (let at = 0; first < length; first = end, end += window, at++)
      shuffle(own.subarray(first, Math.min(end, length)), stream.seek(epoch, lane + 1, at))
  }
  const order = sequence.slice()
  for (let lane = 0; lane < lanes; lane++)
    for (let i = 0; i < length; i++) {
      const place = Math.floor(i / ofLane) * batch + lane * ofLane + (i % ofLane)
      order[place] = sequence[lane * length + i]
    }
  return order
}

/** The images block by block, the blocks in a new order. */
function shuffledBlocks(indices: Uint32Array, starts: Uint32Array, seed: number, epoch: number): Uint32Array {
  const count = starts.length - 1
  const firsts = new Uint32Array(count + 1)
  for (let block = 0, at = 0; block <= count; block++) {
    while (at < indices.length && indices[at] < starts[block]) at++
    firsts[block] = at
  }
  const sequence = new Uint32Array(indices.length)
  let at = 0
  for (const block of permutation(seed, epoch, count)) {
    const own = indices.subarray(firsts[block], firsts[block + 1])
    sequence.set(own, at)
    at += own.length
  }
  return sequence
}
