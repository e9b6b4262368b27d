/** What libraries made for browsers look for, on Node: `navigator.gpu` on the same adapter and Dawn toggles as ours. */
import { adapterClassOf } from '../../../engine/index.js'
import { requestAdapter, restUntil } from '../../../engine/node/index.js'

/** Argument of a peer's process: it waits as our engine does. */
export const LEND_REST = '--lend-rest'

/** Sets `navigator` and `self`; returns the adapter's description. Call before the library is imported. */
export async function standInBrowser(): Promise<string> {
  const { gpu, adapter } = await requestAdapter()
  const navigator = { gpu, userAgent: 'Node', hardwareConcurrency: 1 }
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true })
  Object.defineProperty(globalThis, 'self', { value: globalThis, configurable: true })
  if (process.argv.includes(LEND_REST) && adapterClassOf(adapter.info) === 'cpu') restAsOurs()
  return adapter.info.description || adapter.info.device || adapter.info.vendor
}

/**
 * Our engine's thread rests while it waits for a software driver, which then has all cores. Libraries made for browsers
 * do not, since in a browser nothing polls: this makes theirs rest too.
 */
function restAsOurs(): void {
  const wrap = (prototype: object, name: string): void => {
    const own = Reflect.get(prototype, name) as (...args: unknown[]) => Promise<unknown>
    const resting = function (this: unknown, ...args: unknown[]): Promise<unknown> {
      return restUntil(own.apply(this, args))
    }
    Object.defineProperty(prototype, name, { value: resting, configurable: true })
  }
  wrap(GPUQueue.prototype, 'onSubmittedWorkDone')
  wrap(GPUBuffer.prototype, 'mapAsync')
}

/** A device does nothing at all, very fast, with work that it refuses: the first refusal ends the peer's process. */
export function failOnRefusals(device: GPUDevice): void {
  device.addEventListener('uncapturederror', (event) => {
    console.error((event as GPUUncapturedErrorEvent).error.message.split('\n')[0])
    process.exit(1)
  })
}
