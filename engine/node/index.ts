/** The Node entry: an engine on the best adapter of this machine. */
import { Engine } from '../engine.js'
import { requestDevice } from '../request_device.js'
import { restUntil } from './rest.js'
import { requestAdapter, AdapterError, type DriverChoice } from './adapter.js'

export { AdapterError, requestAdapter, type DriverChoice }
export { restUntil } from './rest.js'
export { tuneByMeasurement } from './tuning_cache.js'

/** An engine and its driver. */
export type NodeEngine = Engine & { readonly driver: DriverChoice }

/**
 * Opens the engine on the best adapter: hardware, else a software driver, which is fetched once if there is none.
 *
 * @param options.adapter 'hardware', 'system', 'lavapipe', 'swiftshader' or part of an adapter's description;
 *   `WEBGPU_SSL_ADAPTER` by default
 * @throws AdapterError in one line if there is no such adapter
 */
export async function openEngine(options: { adapter?: string } = {}): Promise<NodeEngine> {
  const { adapter, driver } = await requestAdapter({ name: options.adapter })
  const device = await requestDevice(adapter)
  const engine = Object.assign(new Engine(device, adapter.info), { driver })
  engine.reopen = async () => {
    const { adapter } = await requestAdapter({ name: options.adapter })
    return { device: await requestDevice(adapter), info: adapter.info }
  }
  // Not on hardware: there the processor is free, and a program may take less time than a sleep.
  if (engine.target.adapterClass === 'cpu') engine.waitFor = restUntil
  return engine
}
