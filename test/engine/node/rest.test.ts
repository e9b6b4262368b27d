/** `restUntil` returns the promise itself, and the event loop keeps turning. */
import { setTimeout as after } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { restUntil } from '../../../engine/node/index.js'

test('returns the promise, with its value or its error', async () => {
  const done = after(5, 'brought')
  expect(restUntil(done)).toBe(done)
  expect(await done).toBe('brought')
  await expect(restUntil(Promise.reject(new Error('thrown')))).rejects.toThrow('thrown')
})

test('other work continues, and the thread sleeps between turns', async () => {
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
  // Without sleeps there would be tens of thousands of turns.
  expect(turns).toBeLessThan(3000)
})

test('successive waits sleep no longer than each alone', async () => {
  // The sleeps of waits within one turn of the loop must not add up.
  for (let i = 0; i < 200; i++) await restUntil(Promise.resolve())
  let turns = 0
  let waiting = true
  const spin = (): void => void (waiting && (turns++, setImmediate(spin)))
  const done = after(150)
  setImmediate(spin)
  await restUntil(done)
  waiting = false
  // There is one sleep in each turn, of a tenth of the time waited so far.
  expect(turns).toBeGreaterThan(30)
})
