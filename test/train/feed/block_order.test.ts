/** The order of an epoch over images that lie in blocks. */
import { expect, test } from 'vitest'
import { batchesOf } from '../../../train/feed/batches.js'
import { blockOrder, lanesOf } from '../../../train/feed/block_order.js'
import { sharesOf } from '../../../train/ranks/share.js'

/** Blocks of 7 to 13 images. */
function blocksOf(count: number): Uint32Array {
  const starts = [0]
  while (starts.at(-1)! < count) starts.push(Math.min(count, starts.at(-1)! + 7 + (starts.length % 7)))
  return Uint32Array.from(starts)
}
const COUNT = 3011
const starts = blocksOf(COUNT)
const all = Uint32Array.from({ length: COUNT }, (_, i) => i)
const blockOf = (image: number): number => starts.findIndex((first) => first > image) - 1
const sorted = (images: Uint32Array): number[] => [...images].sort((a, b) => a - b)

test('an epoch has every image once, in an order of its own', () => {
  const orders = [0, 1].map((epoch) => blockOrder(all, { starts }, { seed: 3, epoch, batch: 96 }))
  for (const order of orders) expect(sorted(order)).toEqual([...all])
  const same = orders[0].filter((image, i) => image === orders[1][i]).length
  expect(same).toBeLessThan(20)
  expect(blockOrder(all, { starts }, { seed: 3, epoch: 0, batch: 96 })).toEqual(orders[0])
  const part = all.filter((i) => i % 3 > 0)
  expect(sorted(blockOrder(part, { starts }, { seed: 3, epoch: 0, batch: 96 }))).toEqual([...part])
  // More lanes than images, and a batch of all images.
  expect(sorted(blockOrder(all.subarray(0, 5), { starts }, { seed: 3, epoch: 0, batch: 64 }))).toEqual([0, 1, 2, 3, 4])
  expect([lanesOf(96), lanesOf(101), lanesOf(4096), lanesOf(6)]).toEqual([48, 1, 64, 6])
})

test('a batch mixes many blocks, and few blocks are open at a time', () => {
  const order = blockOrder(all, { starts }, { seed: 1, epoch: 0, batch: 16 }).map(blockOf)
  const batches = Array.from({ length: Math.floor(COUNT / 16) }, (_, i) => order.subarray(16 * i, 16 * (i + 1)))
  // 16 lanes take from different blocks, except where two of them share one.
  for (const batch of batches) expect(new Set(batch).size).toBeGreaterThanOrEqual(14)
  const first = new Map<number, number>()
  const last = new Map<number, number>()
  batches.forEach((batch, i) =>
    batch.forEach((block) => void (last.set(block, i), first.has(block) || first.set(block, i))),
  )
  const open = batches.map((_, i) => [...first].filter(([block, at]) => at <= i && last.get(block)! >= i).length)
  // 4 blocks and a part of one in each lane, of 300 blocks in all.
  expect(Math.max(...open)).toBeLessThanOrEqual(16 * 6)
})

test('ranks read different blocks; a run that starts in the middle goes on with the same images', () => {
  const order = { seed: 5, perStep: 48, steps: 150, blocks: { starts, batch: 24 } }
  const from = (step: number) => ({ step, epoch: Math.floor(step / 62), stepInEpoch: step % 62 })
  const whole = [...batchesOf(all, order, from(0))]
  expect([...batchesOf(all, order, from(100))]).toEqual(whole.slice(100))
  const blocks = [0, 1, 2].map(
    (rank) =>
      new Set(
        [...sharesOf(whole.slice(0, 62), { batch: 24 }, { rank, size: 3 })].flatMap(({ images }) =>
          [...images].map(blockOf),
        ),
      ),
  )
  // A block at the border of two ranks' lanes belongs to both.
  const shared = [...blocks[0]].filter((block) => blocks[1].has(block) || blocks[2].has(block))
  expect(shared.length).toBeLessThanOrEqual(2)
  expect(blocks.every((own) => own.size < 0.4 * starts.length)).toBe(true)
})
