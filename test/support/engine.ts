/** One engine for the whole test run: a device and its pipelines are dear on a software driver. */
import { Engine, type Target } from '../../engine/index.js'
import { openEngine, readKernels } from '../../engine/node/index.js'

let opened: Promise<Engine> | undefined

export const engine = (): Promise<Engine> => (opened ??= openEngine())

/** An engine on the same device that lowers for another target: narrower bindings, say. */
export async function engineFor(target: Partial<Target>): Promise<Engine> {
  const own = await engine()
  if (Object.keys(target).length === 0) return own
  return Object.assign(new Engine(own.device, own.info, readKernels()), { target: { ...own.target, ...target } })
}
