/** `navigator.gpu` on Node for libraries made for browsers, with this engine's adapter and Dawn toggles. */
import { adapterClassOf, adapterName } from '../../../engine/index.js'
import { requestAdapter, restUntil } from '../../../engine/node/index.js'

/** Argument of a peer's process: its thread sleeps while it waits, as this engine's thread does. */
export const LEND_REST = '--lend-rest'

/** Sets `navigator` and `self`, and returns the adapter's description. Call it before the library is imported. */
export async function emulateBrowser(): Promise<string> {
  const { gpu, adapter } = await requestAdapter()
  const navigator = { gpu, userAgent: 'Node', hardwareConcurrency: 1 }
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true })
  Object.defineProperty(globalThis, 'self', { value: globalThis, configurable: true })
  if (process.argv.includes(LEND_REST) && adapterClassOf(adapter.info) === 'cpu') sleepWhileWaiting()
  return adapterName(adapter.info)
}

/**
 * On a software driver, Dawn's polling on Node takes a core from the driver. This engine's thread sleeps instead.
 * Libraries made for browsers do not, because nothing polls in a browser. This function makes their threads sleep too.
 */
function sleepWhileWaiting(): void {
  const wrap = (prototype: object, name: string): void => {
    const own = Reflect.get(prototype, name) as (...args: unknown[]) => Promise<unknown>
    const sleeping = function (this: unknown, ...args: unknown[]): Promise<unknown> {
      return restUntil(own.apply(this, args))
    }
    Object.defineProperty(prototype, name, { value: sleeping, configurable: true })
  }
  wrap(GPUQueue.prototype, 'onSubmittedWorkDone')
  wrap(GPUBuffer.prototype, 'mapAsync')
}

/** A device skips invalid work, which would look very fast: the first validation error ends the peer's process. */
export function exitOnDeviceErrors(device: GPUDevice): void {
  device.addEventListener('uncapturederror', (event) => {
    console.error((event as GPUUncapturedErrorEvent).error.message.split('\n')[0])
    process.exit(1)
  })
}
