import { setTimeout as wait } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { resolveConfig } from '../../../train/config/config.js'
import { TrainingClock } from '../../../train/run/clock.js'
import { StepRecorder } from '../../../train/run/step_recorder.js'
import type { TrainingStep } from '../../../train/step/index.js'
import { memoryStore } from '../../support/memory_store.js'

test('steps are recorded in their order, although some are read later than others', async () => {
  const [losses, milliseconds] = [
    [3, 2, 1, 0.5],
    [60, 1, 30, 1],
  ]
  let read = 0
  const trainingStep = {
    peakBytes: 0,
    async loss() {
      const k = read++
      await wait(milliseconds[k])
      return Float32Array.of(losses[k])
    },
  } as TrainingStep
  const files = new Map<string, Uint8Array>()
  const shown: number[] = []
  const recorder = new StepRecorder({
    ...{ config: resolveConfig({}), trainingStep, clock: new TrainingClock(8), steps: 4, classes: 0 },
    out: memoryStore(files),
    onStep: ({ step }) => shown.push(step),
  })
  for (let step = 1; step <= 4; step++) await recorder.record({ step, epoch: 0, lr: 1 })
  await recorder.settle()
  expect(shown).toEqual([1, 2, 3, 4])
  expect(recorder.losses).toEqual(losses)
  const lines = new TextDecoder().decode(files.get('metrics.jsonl')).trim().split('\n')
  expect(lines.map((line) => (JSON.parse(line) as { step: number }).step)).toEqual([1, 2, 3, 4])
})
