/** One engine for each rank: programs of ranks wait for each other, so they cannot share a device. */
import type { Engine } from '../../engine/index.js'
import { anotherEngine, engine } from './engine.js'

const others: Promise<Engine>[] = []

/** The engine of all tests, and `count` − 1 more. */
export const rankEngines = (count: number): Promise<Engine[]> =>
  Promise.all([engine(), ...Array.from({ length: count - 1 }, (_, i) => (others[i] ??= anotherEngine()))])

/** Call it at the end of a test file. */
export async function closeRankEngines(): Promise<void> {
  for (const other of await Promise.all(others.splice(0))) other.close()
}
