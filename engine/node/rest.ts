/**
 * Waiting without keeping a core busy. Dawn for Node polls for completion in every turn of the event loop and never
 * sleeps. On a software driver this polling takes a processor from the driver itself. Here the thread therefore sleeps
 * between two turns, for a small share of the time that it has waited so far or that it waited the last time, whichever
 * is longer. The last time counts because most runs take about as long as the run before.
 */

/** The share of the time waited. */
const SHARE = 0.1
/** Milliseconds. Everything else in the event loop is late by at most this much. */
const LONGEST = 10
/** Milliseconds. Below this, falling asleep takes longer than the sleep. */
const SHORTEST = 0.05

const cell = new Int32Array(new SharedArrayBuffer(4))
let waiting = 0
let since = 0
let before = 0
/** Whether `sleep` is scheduled. A second chain of sleeps would double the delay. */
let turning = false

/** Makes the thread sleep between turns of the event loop until the promise is settled. @returns the promise */
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
