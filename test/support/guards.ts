/**
 * Guards behind the buffers of the tests' engines. A device keeps accesses inside a binding: beyond its end a kernel
 * reads or writes one of its own numbers, and a result that is wrong there often looks right. Here each buffer and its
 * binding are longer than asked for, and all of it is NaN at first. Hence a kernel that reads beyond an operand, or
 * memory that nothing has written, gives NaN. A kernel that writes beyond its result changes a guard, and the test fails.
 */
import type { Engine } from '../../engine/index.js'

/** Bytes behind each buffer: a vec4 for each of 64 threads. */
const GUARD = 1024
/** Larger buffers are not filled, which would take long, but they have guards. */
const MOST_FILLED = 2 ** 22
const [STORAGE, UNIFORM] = [0x80, 0x40]
/** A quiet NaN that no computation makes. */
const NAN = 0x7fc0dead
const guardWords = new Uint32Array(GUARD / 4).fill(NAN)

/** Sizes without guards of the buffers that exist. */
const sizes = new Map<GPUBuffer, number>()
/** The guards of buffers that were destroyed since the last check: their labels, and copies one behind another. */
const destroyed: string[] = []
const MOST_DESTROYED = 4096
let copies: GPUBuffer | undefined
let guarded: Engine | undefined

/** Gives the buffers that an engine makes from now on a guard each. All guarded engines have one device. */
export function guard<E extends Engine>(engine: E): E {
  const { device } = engine
  const make = engine.createBuffer.bind(engine)
  const bind = engine.createBindGroup.bind(engine)
  guarded = engine
  // Made before any test, because some tests count buffers.
  copies ??= device.createBuffer({ size: MOST_DESTROYED * GUARD, usage: 0x04 | 0x08, label: 'guards' })
  engine.createBuffer = (size, usage, label) => {
    if (!(usage & STORAGE) || usage & UNIFORM || size + GUARD > device.limits.maxStorageBufferBindingSize)
      return make(size, usage, label)
    const buffer = make(size + GUARD, usage, label)
    const filled = size <= MOST_FILLED ? new Uint32Array((size + GUARD) / 4).fill(NAN) : guardWords
    device.queue.writeBuffer(buffer, size + GUARD - filled.byteLength, filled)
    sizes.set(buffer, size)
    const destroy = buffer.destroy.bind(buffer)
    buffer.destroy = () => {
      if (sizes.delete(buffer) && destroyed.length < MOST_DESTROYED) {
        copy(device, buffer, size, copies!, destroyed.length * GUARD)
        destroyed.push(label)
      }
      destroy()
    }
    return buffer
  }
  engine.createBindGroup = (descriptor) => {
    const entries = [...descriptor.entries].map((entry) => {
      const { buffer, offset = 0, size = 0 } = entry.resource as GPUBufferBinding
      const reachesEnd = sizes.get(buffer) === offset + size
      return reachesEnd ? { ...entry, resource: { buffer, offset, size: size + GUARD } } : entry
    })
    return bind({ ...descriptor, entries })
  }
  return engine
}

function copy(device: GPUDevice, from: GPUBuffer, at: number, to: GPUBuffer, place: number): void {
  const encoder = device.createCommandEncoder()
  encoder.copyBufferToBuffer(from, at, to, place, GUARD)
  device.queue.submit([encoder.finish()])
}

/** The labels of buffers that a kernel has written beyond since the last check. */
export async function writtenBeyond(): Promise<string[]> {
  if (!guarded || !copies || sizes.size + destroyed.length === 0) return []
  const { device } = guarded
  const all = [
    ...destroyed.splice(0).map((label, i) => ({ label, buffer: copies!, at: i * GUARD })),
    ...[...sizes].map(([buffer, at]) => ({ label: buffer.label, buffer, at })),
  ]
  const read = device.createBuffer({ size: all.length * GUARD, usage: 0x01 | 0x08, label: 'guards' })
  const encoder = device.createCommandEncoder()
  all.forEach(({ buffer, at }, i) => encoder.copyBufferToBuffer(buffer, at, read, i * GUARD, GUARD))
  device.queue.submit([encoder.finish()])
  await guarded.waitFor(read.mapAsync(0x01))
  const words = new Uint32Array(read.getMappedRange())
  const changed = all.filter((_, i) => words.subarray((i * GUARD) / 4, ((i + 1) * GUARD) / 4).some((w) => w !== NAN))
  read.destroy()
  for (const { buffer, at } of changed) if (sizes.has(buffer)) device.queue.writeBuffer(buffer, at, guardWords)
  return changed.map(({ label }) => label)
}
