/** Which buffers a piece of work leaves on the device. */
import { engine } from './engine.js'

/**
 * The labels of buffers that `work` makes and does not free, without the staging buffers that are kept for read-back.
 */
export async function heldAfter(work: () => Promise<unknown>): Promise<string[]> {
  const { device } = await engine()
  const held = new Set<GPUBuffer>()
  const original = device.createBuffer.bind(device)
  device.createBuffer = (descriptor) => {
    const buffer = original(descriptor)
    const destroy = buffer.destroy.bind(buffer)
    buffer.destroy = () => {
      held.delete(buffer)
      return destroy()
    }
    if (descriptor.label !== 'read-back') held.add(buffer)
    return buffer
  }
  try {
    await work()
  } finally {
    device.createBuffer = original
  }
  return [...held].map(({ label }) => label).sort()
}
