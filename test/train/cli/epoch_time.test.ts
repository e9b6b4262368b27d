import { expect, test } from 'vitest'
import { epochTime } from '../../../train/cli/epoch_time.js'

const metrics = (step: number, steps: number) => ({
  ...{ step, steps, epoch: 0, loss: 1, lr: 1e-3, seconds: 0 },
  imagesPerSecond: step === 1 ? 0 : 10,
})

test('a slow run says once how long an epoch and the run take', () => {
  const said: string[] = []
  // 9 steps of 100 images: 90 s. 20 epochs have 180 steps, of which 176 are left.
  const observe = epochTime({ batch: 50, accumulate: 2, epochs: 20 }, 999, (line) => said.push(line))
  for (let step = 1; step <= 6; step++) observe(metrics(step, 180))
  expect(said).toEqual([
    'an epoch takes about 1 min 30 s and the run 29 min 20 s; a smaller --width, --image-size or --views is quicker, and --epochs sets the length',
  ])
})

test('a quick run says nothing', () => {
  const said: string[] = []
  const observe = epochTime({ batch: 100, accumulate: 1, epochs: 1 }, 999, (line) => said.push(line))
  for (let step = 1; step <= 9; step++) observe(metrics(step, 9))
  expect(said).toEqual([])
})
