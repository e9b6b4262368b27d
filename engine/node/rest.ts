/**
 * Waiting without keeping a core busy. Dawn for Node looks for completion in a loop over the event loop that never
 * sleeps. On a software driver that loop takes a processor from the driver itself, so here the thread sleeps between
 * two looks, each time for a small share of what it has waited already, or of what it waited the time before: runs
 * mostly follow their like, and short ones would be over before the first sleep.
 */

/** Of the time waited. */
const SHARE = 0.1
/** Milliseconds: whatever else the event loop serves is late by this much at most. */
const LONGEST = 2
/** Milliseconds: below it, going to sleep takes longer than the sleep. */
const SHORTEST = 0.05

const cell = new Int32Array(new SharedArrayBuffer(4))
let waiting = 0
let since = 0
let before = 0
/** One turn after the other: a second row of them would sleep besides. */
let turning = false

/** @returns the promise, while which is pending the thread sleeps between its turns */
export function restUntil<T>(done: Promise<T>): Promise<T> {
  if (waiting++ === 0) since = performance.now()
  if (!turning) setImmediate(sleep)
  turning = true
  const end = (): void => {
    waiting--
    const now = performance.now()
    before = now - since
    since = now
  }
  done.then(end, end)
  return done
}

function sleep(): void {
  turning = waiting > 0
  if (!turning) return
  const time = Math.min(LONGEST, SHARE * Math.max(before, performance.now() - since))
  if (time > SHORTEST) Atomics.wait(cell, 0, 0, time)
  setImmediate(sleep)
}
