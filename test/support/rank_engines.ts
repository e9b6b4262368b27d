/** One engine for each rank: programs of ranks wait for each other, so they cannot share a device. */
import { openEngine } from '../../engine/node/index.js'
import type { Engine } from '../../engine/index.js'
import { guard } from './guards.js'

const opened: Promise<Engine>[] = []

export const rankEngines = (count: number): Promise<Engine[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => (opened[i] ??= openEngine().then(guard))))
