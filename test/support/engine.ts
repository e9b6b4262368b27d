/** One engine for all tests: a device and its pipelines take long to make on a software driver. */
import type { Engine, Target } from '../../engine/index.js'
import { openEngine } from '../../engine/node/index.js'
import { guard } from './guards.js'

let opened: Promise<Engine> | undefined

/** With TEST_AS=gpu the tests treat a software driver as a GPU, so that they run the kernels that a GPU would run. */
export const asGpu = process.env.TEST_AS === 'gpu'

export const engine = (): Promise<Engine> => (opened ??= anotherEngine())

/** An engine with a device of its own. The caller closes it. */
export async function anotherEngine(): Promise<Engine> {
  const own = guard(await openEngine())
  return asGpu ? Object.assign(own, { target: { ...own.target, adapterClass: 'gpu' } }) : own
}

/** An engine like that of a process which a test starts: it never treats a software driver as a GPU. The caller closes it. */
export const engineOfProcesses = async (): Promise<Engine> => guard(await openEngine())

/** The same engine, but it lowers for another target, such as one with smaller bindings. */
export async function engineFor(target: Partial<Target>): Promise<Engine> {
  const own = await engine()
  return Object.create(own, { target: { value: { ...own.target, ...target } } }) as Engine
}
