/** Resting while waiting: the promise as it is, and an event loop that goes on. */
import { setTimeout as after } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { restUntil } from '../../../engine/node/index.js'

test('hands the promise on, what it brings and what it throws', async () => {
  const done = after(5, 'brought')
  expect(restUntil(done)).toBe(done)
  expect(await done).toBe('brought')
  await expect(restUntil(Promise.reject(new Error('thrown')))).rejects.toThrow('thrown')
})

test('other work goes on meanwhile, and the thread sleeps between its turns', async () => {
  let [turns, timers] = [0, 0]
  const every = setInterval(() => timers++, 5)
  const spin = (): void => void (waiting && (turns++, setImmediate(spin)))
  let waiting = true
  const done = after(150)
  setImmediate(spin)
  await restUntil(done)
  waiting = false
  clearInterval(every)
  expect(timers).toBeGreaterThan(3)
  // A loop that never sleeps makes tens of thousands of turns.
  expect(turns).toBeLessThan(3000)
})

test('one wait after another rests no longer than each alone', async () => {
  // Waits that follow each other within one turn of the loop must not add up their sleeps.
  for (let i = 0; i < 200; i++) await restUntil(Promise.resolve())
  let turns = 0
  let waiting = true
  const spin = (): void => void (waiting && (turns++, setImmediate(spin)))
  const done = after(150)
  setImmediate(spin)
  await restUntil(done)
  waiting = false
  // Sleeps of 2 ms at most, one a turn.
  expect(turns).toBeGreaterThan(30)
})
