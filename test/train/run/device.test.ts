/** A device that is lost during a run, or has too little memory for it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EngineError, freeBytes, type Engine } from '../../../engine/index.js'
import { openEngine } from '../../../engine/node/index.js'
import { ConfigError, resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import type { StepMetrics } from '../../../train/run/metrics.js'
import { pretrain, type PretrainOptions } from '../../../train/run/pretrain.js'
import { colourfulImages } from '../../support/images.js'
import { memoryStore } from '../../support/memory_store.js'

const dataset = colourfulImages(40)
// An engine of their own, because these tests break it.
let gpu: Engine
beforeAll(async () => void (gpu = await openEngine()))
afterAll(() => gpu.close())

async function run({ changes, ...options }: Partial<PretrainOptions> & { changes?: PartialConfig } = {}) {
  const config = resolveConfig({
    ...{ data: 'own images', width: 4, views: 2, projectorDim: 8, batch: 8, epochs: 3, seed: 7 },
    ...{ checkpointEvery: 1, augmentation: { size: 8 }, emaRate: 0.9 },
    ...changes,
  })
  const [files, messages] = [new Map<string, Uint8Array>(), [] as string[]]
  const onMessage = (line: string) => messages.push(line)
  const out = memoryStore(files)
  const result = await pretrain({ engine: gpu, dataset, config, out, onMessage, diagnosisShare: 0, ...options })
  for (const part of [result.backbone, result.projector, result.average!])
    for (const v of part.dict.variables) gpu.release(v)
  return { ...result, files, losses: result.losses, lost: messages.filter((line) => line.includes('was lost')) }
}

/** Loses the device when a step is recorded, as often as the step is listed. */
const losing = (...steps: number[]) => ({
  onStep: ({ step }: StepMetrics): void => {
    const at = steps.indexOf(step)
    if (at < 0) return
    steps.splice(at, 1)
    gpu.device.destroy()
  },
})

/** What does not depend on time: the weights and the state of the last checkpoint, and the lines of the steps. */
const kept = (files: Map<string, Uint8Array>) => {
  const text = new TextDecoder().decode(files.get('metrics.jsonl'))
  const lines = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as StepMetrics)
  return {
    tensors: ['model', 'average', 'state'].map((name) => files.get(`checkpoints/step-00000015/${name}.safetensors`)),
    lines: lines.map(({ step, epoch, loss, parts, lr }) => ({ step, epoch, loss, parts, lr })),
  }
}

describe('a run whose device is lost', () => {
  let whole: Awaited<ReturnType<typeof run>>
  beforeAll(async () => void (whole = await run()))

  test('goes on from its last checkpoint, with the same bits and the same lines', async () => {
    // Before the first checkpoint, and after it.
    const { files, losses, stopped, lost } = await run(losing(2, 7))
    expect(stopped).toBe('done')
    expect(lost.map((line) => /goes on from (.*) on a new device$/.exec(line)?.[1])).toEqual([
      'the beginning',
      'the checkpoint of step 5',
    ])
    expect(losses).toEqual(whole.losses)
    expect(kept(files)).toEqual(kept(whole.files))
  })

  test('begins again if it saves nothing', async () => {
    const { losses, lost } = await run({ out: undefined, ...losing(11) })
    expect(lost).toHaveLength(1)
    expect(losses).toEqual(whole.losses)
  })

  test('goes on after a loss at a checkpoint', async () => {
    let left = 1
    const onCheckpoint = async ({ step }: { step: number }): Promise<void> => {
      if (step === 10 && left-- > 0) gpu.device.destroy()
    }
    const { files, lost } = await run({ onCheckpoint })
    expect(lost).toEqual([expect.stringContaining('goes on from the checkpoint of step 10')])
    expect(kept(files)).toEqual(kept(whole.files))
  })

  test('ends with one line at the third loss without a new checkpoint, and can be resumed', async () => {
    const files = new Map<string, Uint8Array>()
    const failing = run({ out: memoryStore(files), ...losing(6, 6, 6) })
    await expect(failing).rejects.toThrow(EngineError)
    await expect(failing).rejects.toThrow(
      /^GPU error on .* lost .*, 3 times in a row without a new checkpoint: .*`resume`/,
    )
    await expect(failing).rejects.not.toThrow(/\n/)
    await gpu.renew()
    await run({ out: memoryStore(files), resume: true })
    expect(kept(files)).toEqual(kept(whole.files))
  })

  test('ends with one line if no other device can be opened', async () => {
    const { reopen } = gpu
    gpu.reopen = () => Promise.reject(new Error('The adapter is no longer available.'))
    await expect(run(losing(2))).rejects.toThrow(/^The adapter is no longer available\.$/)
    gpu.reopen = undefined
    await expect(run()).rejects.toThrow(/^GPU error on .*: the device was lost/)
    gpu.reopen = reopen
    await gpu.renew()
  })
})

describe('a device with little memory', () => {
  /** Makes the device refuse buffers beyond a total size, as a device does that has no more memory. */
  function limit(most: number): () => void {
    const { device } = gpu
    const { createBuffer, pushErrorScope, popErrorScope } = device
    const scopes: { filter: string; error: GPUError | null }[] = []
    let total = 0
    device.createBuffer = (descriptor) => {
      const fits = total + descriptor.size <= most
      const scope = scopes.findLast(({ filter }) => filter === 'out-of-memory')
      if (!fits && !scope) throw new Error(`no error scope for ${descriptor.label}`)
      if (!fits) scope!.error = { message: `no ${descriptor.size} bytes` } as GPUError
      const size = fits ? descriptor.size : 0
      const buffer = createBuffer.call(device, descriptor)
      const { destroy } = buffer
      total += size
      let freed = false
      buffer.destroy = () => {
        if (!freed) total -= size
        freed = true
        return destroy.call(buffer)
      }
      return buffer
    }
    device.pushErrorScope = (filter) => {
      scopes.push({ filter, error: null })
      return pushErrorScope.call(device, filter)
    }
    device.popErrorScope = async () => {
      const { error } = scopes.pop()!
      return error ?? popErrorScope.call(device)
    }
    return () => Object.assign(device, { createBuffer, pushErrorScope, popErrorScope })
  }

  const MIB = 2 ** 20
  const changes = {
    width: 8,
    views: 4,
    batch: 20,
    augmentation: { size: 32 },
    epochs: 1,
    checkpointEvery: 9,
    bn: 'per-view' as const,
  }
  const big = (more: PartialConfig = {}) => run({ out: undefined, changes: { ...changes, ...more } })

  test('tells how much is free', async () => {
    const restore = limit(20 * MIB)
    try {
      const free = await freeBytes(gpu, 64 * MIB)
      expect(free / MIB).toBeGreaterThan(18)
      expect(free / MIB).toBeLessThanOrEqual(20)
      expect(await freeBytes(gpu, 7 * MIB)).toBe(7 * MIB)
      // All of it is free again.
      expect(await freeBytes(gpu, 64 * MIB)).toBe(free)
    } finally {
      restore()
    }
  })

  test('refuses a run before its first step, names values that fit, and they do fit', async () => {
    const { peakBytes } = await big()
    const restore = limit(peakBytes * 0.7)
    try {
      const refused = await big().then(
        () => expect.unreachable(),
        (error: unknown) => error as ConfigError,
      )
      expect(refused).toBeInstanceOf(ConfigError)
      const found = /needs [\d,]+ MiB of memory, and [\d,]+ MiB are available: use `batch` (\d+), or `viewChunk` (\d+)/
      expect(refused.message).toMatch(found)
      const [, batch, viewChunk] = found.exec(refused.message)!.map(Number)
      expect(batch).toBeLessThan(20)
      await big({ batch })
      await big({ viewChunk })
    } finally {
      restore()
    }
  })
})
