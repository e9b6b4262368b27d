/** One engine for all tests: a device and its pipelines take long to make on a software driver. */
import type { Engine, Target } from '../../engine/index.js'
import { openEngine } from '../../engine/node/index.js'
import { guard } from './guards.js'

let opened: Promise<Engine> | undefined

export const engine = (): Promise<Engine> => (opened ??= openEngine().then(guard))

/** The same engine, but it lowers for another target, such as one with smaller bindings. */
export async function engineFor(target: Partial<Target>): Promise<Engine> {
  const own = await engine()
  return Object.create(own, { target: { value: { ...own.target, ...target } } }) as Engine
}
