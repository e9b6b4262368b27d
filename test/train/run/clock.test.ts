/** The training clock and the loop, on a device whose time the test controls. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Engine } from '../../../engine/index.js'
import { resolveConfig } from '../../../train/config/config.js'
import { TrainingClock } from '../../../train/run/clock.js'
import { trainingLoop, type PreparedRun } from '../../../train/run/loop.js'
import type { StepMetrics } from '../../../train/run/metrics.js'
import { runLength } from '../../../train/run/schedule.js'
import { StepRecorder } from '../../../train/run/step_recorder.js'
import type { TrainingStep } from '../../../train/step/index.js'
import { colourfulImages } from '../../support/images.js'

let now = 0
beforeEach(() => {
  now = 1000
  vi.spyOn(performance, 'now').mockImplementation(() => now)
})
afterEach(() => vi.restoreAllMocks())

const FIRST_MS = 60_000
const STEP_MS = 2000

/** A device that tells that steps have ended only when all submitted steps have. */
function coalescingDevice(): TrainingStep {
  let [end, submitted] = [0, 0]
  const waiting: (() => void)[] = []
  const tell = (): void => {
    now = Math.max(now, end)
    for (const resolve of waiting.splice(0)) resolve()
  }
  return {
    ...{ state: [], dispatches: 1, variants: new Map<string, string>(), peakBytes: 0, destroy: () => undefined },
    run: async () => {
      end = Math.max(now, end) + (submitted++ === 0 ? FIRST_MS : STEP_MS)
    },
    loss: async () => {
      await new Promise<void>((resolve) => {
        // Several turns of the event loop, so that the loop submits what it can before.
        if (waiting.push(resolve) === 1) setTimeout(tell, 5)
      })
      return Float32Array.of(1)
    },
  }
}

/** Trains on the device. @returns what each step recorded, and the steps at which the run was saved */
async function train(changes: Parameters<typeof resolveConfig>[0], secondsBefore = 0) {
  const dataset = colourfulImages(64)
  const config = resolveConfig({ data: 'own', batch: 8, views: 2, epochs: 2, augmentation: { size: 8 }, ...changes })
  const length = runLength(config, dataset.count)
  const clock = new TrainingClock(length.imagesPerStep, secondsBefore)
  const trainingStep = coalescingDevice()
  const metrics: StepMetrics[] = []
  const saves: string[] = []
  const progress = { step: 0, epoch: 0, stepInEpoch: 0, seconds: 0, adapter: '', target: {}, variants: {} }
  const recorder = new StepRecorder({
    ...{ config, trainingStep, clock, steps: length.steps, classes: 0 },
    onStep: (line) => void metrics.push(line),
  })
  await trainingLoop({
    ...{ dataset, config, length, trainingStep, progress, clock, recorder },
    engine: { idle: async () => undefined } as unknown as Engine,
    indices: Uint32Array.from({ length: dataset.count }, (_, i) => i),
    feed: {
      streams: false,
      place: (rows: Float32Array) => rows,
      async *batches(order: Iterable<object>) {
        for (const batch of order) yield { ...batch, waitMs: 0 }
      },
    } as unknown as PreparedRun['feed'],
    readings: { atCheckpoint: async () => undefined } as unknown as PreparedRun['readings'],
    hasTarget: false,
    keeps: false,
    hasProbe: false,
    save: async (byTime) => {
      saves.push(`${progress.step}${byTime ? ' by time' : ''}`)
      // Saving takes ten minutes, which are no training time.
      now += 600_000
    },
    stopRequested: () => undefined,
  })
  return { metrics, saves, clock }
}

test('rates are true from the first step on, whenever the device tells that steps have ended', async () => {
  const { metrics, clock } = await train({ checkpointEvery: 1, checkpointMinutes: 0 })
  expect(metrics.map(({ step }) => step)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1))
  const rate = (8 * 1000) / STEP_MS
  expect(metrics[0]).toMatchObject({ imagesPerSecond: (8 * 1000) / FIRST_MS, seconds: 0 })
  for (const { imagesPerSecond, seconds, step } of metrics.slice(1)) {
    // No step is recorded before it has ended, and none later than two steps after it.
    expect(imagesPerSecond).toBeLessThanOrEqual(rate * 1.001)
    expect(imagesPerSecond).toBeGreaterThanOrEqual(rate / 4)
    expect(seconds).toBeGreaterThanOrEqual(((step - 1) * STEP_MS) / 1000)
    expect(seconds).toBeLessThanOrEqual(((step + 2) * STEP_MS) / 1000)
  }
  expect(metrics[15].imagesPerSecond).toBeCloseTo(rate, 6)
  expect(clock.seconds).toBeCloseTo((15 * STEP_MS) / 1000, 6)
})

test('a checkpoint is saved within an epoch when its minutes have passed, and none by time with 0', async () => {
  // Every step takes two seconds, and a checkpoint is due after six.
  const { saves } = await train({ checkpointEvery: 1, checkpointMinutes: 0.1 })
  const byTime = saves.filter((save) => save.endsWith('by time'))
  expect(byTime.length).toBeGreaterThanOrEqual(2)
  expect(byTime).not.toContain('8 by time')
  expect(saves.filter((save) => !save.endsWith('by time'))).toEqual(['8', '16'])
  expect((await train({ checkpointEvery: 1, checkpointMinutes: 0 })).saves).toEqual(['8', '16'])
  expect((await train({ checkpointEvery: 1 })).saves).toEqual(['8', '16'])
})
