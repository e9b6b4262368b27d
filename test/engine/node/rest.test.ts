/** `restUntil` returns the promise itself, and the event loop keeps turning. */
import { setTimeout as after } from 'node:timers/promises'
import { afterEach, expect, test, vi } from 'vitest'
import { restUntil } from '../../../engine/node/index.js'

afterEach(() => vi.restoreAllMocks())

test('returns the promise, with its value or its error', async () => {
  const done = after(5, 'brought')
  expect(restUntil(done)).toBe(done)
  expect(await done).toBe('brought')
  await expect(restUntil(Promise.reject(new Error('thrown')))).rejects.toThrow('thrown')
})

test('other work continues, and the thread sleeps between turns', async () => {
  const sleep = vi.spyOn(Atomics, 'wait')
  let timers = 0
  const worked = new Promise<void>((resolve) => {
    const every = setInterval(() => {
      if (++timers < 10) return
      clearInterval(every)
      resolve()
    }, 5)
  })
  await restUntil(worked)
  expect(sleep.mock.calls.length).toBeGreaterThan(0)
  // One thing is late by 10 ms at most.
  for (const [, , , ms] of sleep.mock.calls) expect(ms).toBeLessThanOrEqual(10)
})

test('successive waits sleep no longer than each alone', async () => {
  // The sleeps of waits within one turn of the loop must not add up.
  for (let i = 0; i < 200; i++) await restUntil(Promise.resolve())
  const sleep = vi.spyOn(Atomics, 'wait')
  let turns = 0
  let waiting = true
  const spin = (): void => void (waiting && (turns++, setImmediate(spin)))
  const done = after(150)
  setImmediate(spin)
  await restUntil(done)
  waiting = false
  // There is one sleep in each turn.
  expect(sleep.mock.calls.length).toBeLessThanOrEqual(turns + 1)
})
