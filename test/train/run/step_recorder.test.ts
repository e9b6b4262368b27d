/** The order of a run's lines when some steps take longer to read than the next ones. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { resolveConfig } from '../../../train/config/config.js'
import { TrainingClock } from '../../../train/run/clock.js'
import { readLines } from '../../../train/run/metrics.js'
import { StepRecorder, type StepRecorderOptions } from '../../../train/run/step_recorder.js'
import { memoryStore } from '../../support/memory_store.js'

/** A recorder of steps whose losses take `delays[step]` milliseconds to read. */
function recorderOf(delays: Record<number, number>, lossOf: (step: number) => number) {
  const out = memoryStore()
  const seen: number[] = []
  let read = 0
  const loss = async (): Promise<Float32Array> => {
    const step = ++read
    await sleep(delays[step] ?? 0)
    return Float32Array.of(lossOf(step))
  }
  const options = {
    ...{ config: resolveConfig({}), trainingStep: { loss, peakBytes: 0 }, clock: new TrainingClock(8), steps: 9 },
    ...{ classes: 0, out, onStep: ({ step }: { step: number }) => seen.push(step) },
  }
  return { out, seen, recorder: new StepRecorder(options as unknown as StepRecorderOptions) }
}

test('lines, losses and calls keep the order of the steps, whichever is read first', async () => {
  const { out, seen, recorder } = recorderOf({ 2: 50, 4: 30, 5: 20 }, (step) => step / 2)
  for (let step = 1; step <= 6; step++) await recorder.record({ step, epoch: 0, lr: 1 })
  await recorder.settle()
  const steps = [1, 2, 3, 4, 5, 6]
  expect((await readLines(out, 'metrics.jsonl')).map(({ step }) => step)).toEqual(steps)
  expect(recorder.losses).toEqual(steps.map((step) => step / 2))
  expect(seen).toEqual(steps)
})

test('the first step that diverged ends the run, also if a later one is read first', async () => {
  const { out, recorder } = recorderOf({ 2: 50 }, (step) => (step >= 2 ? NaN : 1))
  const work = async (): Promise<void> => {
    for (let step = 1; step <= 4; step++) await recorder.record({ step, epoch: 0, lr: 1 })
    await recorder.settle()
  }
  await expect(work()).rejects.toThrow('at step 2')
  await recorder.close()
  expect((await readLines(out, 'metrics.jsonl')).map(({ step }) => step)).toEqual([1])
})
