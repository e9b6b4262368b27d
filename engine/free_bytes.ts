/** How much memory a device still has. WebGPU does not tell, so the device is asked for buffers until it refuses. */
import { STORAGE_USAGE } from './bindings.js'
import type { Engine } from './engine.js'

/** Smaller amounts do not matter. */
const STEP = 2 ** 20
/** The first request, as a share of the wanted bytes. */
const FIRST_SHARE = 1 / 4

/**
 * Bytes that the device gives in buffers, up to `most`; they are freed again. Nothing else may build on the device
 * meanwhile.
 */
export async function freeBytes(engine: Engine, most: number): Promise<number> {
  const { device, target } = engine
  const buffers: GPUBuffer[] = []
  let total = 0
  // Buffers that were destroyed are freed when the device no longer uses them.
  await engine.waitFor(device.queue.onSubmittedWorkDone())
  try {
    let size = Math.min(target.maxBufferBytes, Math.max(STEP, Math.ceil(most * FIRST_SHARE)))
    while (total < most && size >= STEP) {
      const asked = Math.ceil(Math.min(size, most - total) / 4) * 4
      for (const filter of ['out-of-memory', 'validation', 'internal'] as const) device.pushErrorScope(filter)
      const buffer = device.createBuffer({ size: asked, usage: STORAGE_USAGE, label: 'measuring memory' })
      const errors = [device.popErrorScope(), device.popErrorScope(), device.popErrorScope()]
      const refused = (await engine.waitFor(Promise.all(errors))).some((error) => error !== null)
      if (refused) size = Math.floor(size / 2)
      else {
        buffers.push(buffer)
        total += asked
      }
    }
  } finally {
    for (const buffer of buffers) buffer.destroy()
  }
  return Math.min(total, most)
}
