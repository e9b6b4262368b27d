import { expect, test } from 'vitest'
import { epochTime } from '../../../train/cli/epoch_time.js'

/** What is said in `steps` steps of 10 s, of which the first three are read back together. */
function saidIn(steps: number, epochs: number): string[] {
  const said: string[] = []
  let seconds = 30
  const observe = epochTime(
    { batch: 50, accumulate: 2, epochs },
    999,
    (line) => said.push(line),
    () => seconds,
  )
  for (let step = 1; step <= 8; step++) {
    if (step > 3) seconds += 10
    observe({ step, steps })
  }
  return said
}

test('a slow run says once how long an epoch and the run take', () => {
  // 9 steps per epoch; after the fourth step 176 are left.
  expect(saidIn(180, 20)[0]).toBe('an epoch takes about 1 min 30 s, the rest of the run 29 min 20 s;')
  expect(saidIn(180, 20)).toHaveLength(2)
  expect(saidIn(180, 1)[0]).toBe('an epoch takes about 1 min 30 s;')
})

test('a short run says nothing', () => {
  expect(saidIn(9, 1)).toEqual([])
})
