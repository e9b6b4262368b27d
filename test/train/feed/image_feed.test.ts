/** Streaming gives the same bits as the whole data set on the device. */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { Engine } from '../../../engine/index.js'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import type { ImageDataset } from '../../../train/data/dataset.js'
import { imageFeed } from '../../../train/feed/image_feed.js'
import { ImageFile } from '../../../train/node/data/image_file.js'
import { pretrain } from '../../../train/node/pretrain.js'
import type { StepMetrics } from '../../../train/run/pretrain.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-feed-'))
afterAll(() => rm(folder, { recursive: true }))

const dataset = colourfulImages(29)
const file = join(folder, 'images.bin')
writeFileSync(file, dataset.images)
const inFile = (): ImageDataset => ({ ...dataset, images: new ImageFile(file, 300) })

/** The same device with another limit. */
const limited = (gpu: Engine, maxBindingBytes: number): Engine =>
  Object.create(gpu, { target: { value: { ...gpu.target, maxBindingBytes } } }) as Engine

describe('a run', () => {
  const losses = async (from: ImageDataset, changes: PartialConfig = {}, out?: string) => {
    const config = resolveConfig({
      data: 'own images',
      width: 4,
      views: 2,
      projectorDim: 8,
      batch: 7,
      steps: 6,
      seed: 3,
      augmentation: { size: 8 },
      ...changes,
    })
    const metrics: StepMetrics[] = []
    const result = await pretrain({
      engine: await engine(),
      dataset: from,
      config,
      out,
      resume: out !== undefined && config.steps === 9,
      onStep: (m) => metrics.push(m),
    })
    const { waitSeconds, waitShare } = result
    return { losses: result.losses, metrics, waitSeconds, waitShare }
  }

  test('has the same losses with images from memory, from a file and on the device, over the end of an epoch', async () => {
    const resident = await losses(dataset)
    expect(resident.losses).toHaveLength(6)
    expect(new Set(resident.losses).size).toBe(6)
    expect(resident.metrics.every((m) => m.waitMs === undefined)).toBe(true)
    expect(resident.waitSeconds).toBeUndefined()
    for (const streamed of [await losses(dataset, { stream: 'always' }), await losses(inFile())]) {
      expect(streamed.losses).toEqual(resident.losses)
      const waits = streamed.metrics.map(({ waitMs }) => waitMs!)
      expect(streamed.waitSeconds).toBeCloseTo(waits.reduce((a, b) => a + b, 0) / 1000, 9)
      expect(streamed.waitShare).toBeGreaterThan(0)
      expect(streamed.waitShare).toBeLessThan(1)
    }
  })

  test('has them in chunks of views too, and when it is resumed within an epoch', async () => {
    const changes = { bn: 'per-view', viewChunk: 1 } as const
    expect((await losses(inFile(), changes)).losses).toEqual((await losses(dataset, changes)).losses)
    const whole = await losses(dataset, { steps: 9 })
    const out = join(folder, 'run')
    const before = await losses(inFile(), {}, out)
    const after = await losses(dataset, { steps: 9, stream: 'always' }, out)
    expect([...before.losses, ...after.losses]).toEqual(whole.losses)
    const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n')
    expect(lines.every((line) => typeof (JSON.parse(line) as StepMetrics).waitMs === 'number')).toBe(true)
  })

  test('has them over several micro-batches too, and with a last step of fewer images', async () => {
    for (const changes of [{ accumulate: 2 }, { lastBatch: 'keep' }] as const)
      expect((await losses(inFile(), changes)).losses).toEqual((await losses(dataset, changes)).losses)
  })

  test('ends in one line if images cannot be read', async () => {
    const short = join(folder, 'short.bin')
    writeFileSync(short, dataset.images.subarray(0, 300))
    const cut = { ...dataset, images: new ImageFile(short, 300) }
    await expect(losses(cut)).rejects.toThrow(/^\S+short\.bin: ends before image \d+; the file has changed$/)
  })
})

describe('imageFeed', () => {
  const order = [
    [4, 0, 28],
    [7, 7, 1],
    [2, 3, 5],
    [9, 8, 6],
  ].map((images) => ({ images, name: images.join() }))

  test('streams images in a file and images larger than a binding; others are resident', async () => {
    const gpu = await engine()
    const streams = (e: Engine, from: ImageDataset, how: 'auto' | 'always' = 'auto') =>
      imageFeed(e, from, 3, how).streams
    expect(streams(gpu, dataset)).toBe(false)
    expect(streams(gpu, dataset, 'always')).toBe(true)
    expect(streams(gpu, inFile())).toBe(true)
    expect(streams(limited(gpu, 29 * 300), dataset)).toBe(false)
    expect(streams(limited(gpu, 29 * 300 - 1), dataset)).toBe(true)
  })

  test.each([1e6, 601])('puts batch after batch on the device, with bindings of %d bytes', async (maxBindingBytes) => {
    const gpu = limited(await engine(), maxBindingBytes)
    const feed = imageFeed(gpu, dataset, 3, 'always')
    expect(feed.onDevice.shards.map(({ count }) => count)).toEqual(maxBindingBytes > 900 ? [3] : [2, 1])
    const seen = []
    for await (const { images, name } of feed.batches(order)) {
      const bytes: number[] = []
      for (const { words, count } of feed.onDevice.shards)
        bytes.push(...new Uint8Array((await gpu.read(words)).buffer).subarray(0, 300 * count))
      expect(bytes).toEqual(images.flatMap((i) => [...dataset.images.subarray(300 * i, 300 * (i + 1))]))
      seen.push(name)
    }
    expect(seen).toEqual(order.map(({ name }) => name))
    feed.release()
  })

  test('reads at most two batches ahead, and waits for its reads when the loop is left', async () => {
    const gpu = await engine()
    const begun: number[] = []
    let under = 0
    const images = {
      async read(indices: ArrayLike<number>, out: Uint8Array): Promise<void> {
        begun.push(indices[0])
        under++
        await new Promise((resolve) => setTimeout(resolve, 5))
        out.fill(indices[0])
        under--
      },
    }
    const feed = imageFeed(gpu, { ...dataset, images }, 3, 'auto')
    for await (const { waitMs } of feed.batches(order)) {
      expect(begun).toEqual([4, 7, 2])
      expect(waitMs).toBeGreaterThan(1)
      break
    }
    expect(under).toBe(0)
    expect(begun).toEqual([4, 7, 2])
    feed.release()
  })

  test('no step waits for its images if reading takes less time than a step', async () => {
    const gpu = await engine()
    const events: string[] = []
    const reads: (() => void)[] = []
    const images = {
      read(indices: ArrayLike<number>, out: Uint8Array): Promise<void> {
        const name = indices[0]
        events.push(`read ${name} begins`)
        return new Promise((resolve) =>
          reads.push(() => {
            out.fill(name)
            events.push(`read ${name} ends`)
            resolve()
          }),
        )
      },
    }
    const feed = imageFeed(gpu, { ...dataset, images }, 3, 'auto')
    const batches = feed.batches(order)
    const first = batches.next()
    expect(events).toEqual(['read 4 begins', 'read 7 begins'])
    reads.shift()!()
    for (let due = await first; !due.done; due = await batches.next()) {
      const { name } = due.value
      events.push(`step ${name[0]} begins`)
      // All pending reads finish while the step runs, …
      for (const end of reads.splice(0)) end()
      await Promise.resolve()
      events.push(`step ${name[0]} ends`)
    }
    // … so between steps the feed only starts another read.
    expect(events).toEqual([
      ...['read 4 begins', 'read 7 begins', 'read 4 ends', 'read 2 begins'],
      ...['step 4 begins', 'read 7 ends', 'read 2 ends', 'step 4 ends', 'read 9 begins'],
      ...['step 7 begins', 'read 9 ends', 'step 7 ends'],
      ...['step 2 begins', 'step 2 ends'],
      ...['step 9 begins', 'step 9 ends'],
    ])
    feed.release()
  })

  test('rows name images by their index in the batch', async () => {
    const named = [7, 2, 7, 2, 5, 5]
    const rows = new Float32Array(6 * 32).fill(9)
    named.forEach((image, row) => (rows[32 * row] = image))
    imageFeed(await engine(), dataset, 3, 'always').place(rows, [7, 2, 5])
    expect([0, 1, 2, 3, 4, 5].map((row) => rows[32 * row])).toEqual([0, 1, 0, 1, 2, 2])
    expect(rows[33]).toBe(9)
    const resident = new Float32Array(64).fill(9)
    expect(imageFeed(await engine(), dataset, 3, 'auto').place(resident, [9])).toEqual(new Float32Array(64).fill(9))
  })
})
