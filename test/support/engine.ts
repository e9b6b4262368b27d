/** One engine for the whole test run: a device and its pipelines are dear on a software driver. */
import type { Engine, Target } from '../../engine/index.js'
import { openEngine } from '../../engine/node/index.js'

let opened: Promise<Engine> | undefined

export const engine = (): Promise<Engine> => (opened ??= openEngine())

/** The same engine, lowering for another target: narrower bindings, say. */
export async function engineFor(target: Partial<Target>): Promise<Engine> {
  const own = await engine()
  return Object.create(own, { target: { value: { ...own.target, ...target } } }) as Engine
}
