/**
 * Guards behind the buffers of the tests' engines. A device keeps accesses inside a binding: beyond its end a kernel
 * reads or writes one of its own numbers, and a result that is wrong there often looks right. Here each buffer and its
 * binding are longer than asked for, with NaN at the end, and the buffers of temporaries are all NaN at first. Hence a
 * kernel that reads beyond an operand, or a temporary that nothing has written, gives NaN. A kernel that writes beyond
 * its result changes a guard, and the test fails.
 */
import type { Engine } from '../../engine/index.js'

/** Bytes behind each buffer: a vec4 for each of 64 threads. */
const GUARD = 1024
/** Larger buffers are not filled, which would take long, but they have guards. */
const MOST_FILLED = 2 ** 22
/** So many destroyed buffers of a test are checked. */
const MOST_DESTROYED = 4096
const [STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ] = [0x80, 0x40, 0x04, 0x08, 0x01]
/** A quiet NaN that no computation makes. */
const NAN = 0x7fc0dead
const guardWords = new Uint32Array(GUARD / 4).fill(NAN)

/** What is known of a device's guards. */
class Guards {
  /** Sizes without guards of the buffers that exist. */
  readonly sizes = new Map<GPUBuffer, number>()
  /** The buffers that were destroyed since the last check. Their guards lie in `copies`, one behind another. */
  private readonly destroyed: string[] = []
  private readonly copies: GPUBuffer
  /** Whether the device has refused a command of the guards: a test then uses buffers or a device that failed. */
  private refused: Promise<boolean>[] = []

  constructor(private readonly device: GPUDevice) {
    // Made before any test, because some tests count buffers.
    this.copies = device.createBuffer({ size: MOST_DESTROYED * GUARD, usage: COPY_SRC | COPY_DST, label: 'guards' })
  }

  /** Fills a new buffer, and notes that it exists. */
  add(buffer: GPUBuffer, size: number, label: string): void {
    // Other buffers begin with zeros, as on every device; those of temporaries hold what another value has left.
    const isFilled = / pool \d+$/.test(label) && size <= MOST_FILLED
    const filled = isFilled ? new Uint32Array((size + GUARD) / 4).fill(NAN) : guardWords
    this.quietly(() => this.device.queue.writeBuffer(buffer, size + GUARD - filled.byteLength, filled))
    this.sizes.set(buffer, size)
    // Code that copies whole buffers does not see the guards.
    Object.defineProperty(buffer, 'size', { value: size })
    const destroy = buffer.destroy.bind(buffer)
    buffer.destroy = () => {
      if (this.sizes.delete(buffer) && this.destroyed.length < MOST_DESTROYED) {
        this.copy([{ from: buffer, at: size }], this.copies, this.destroyed.length * GUARD)
        this.destroyed.push(label)
      }
      destroy()
    }
  }

  /** The labels of buffers that a kernel has written beyond since the last check. */
  async changed(wait: Engine['waitFor']): Promise<string[]> {
    const { device, copies, sizes } = this
    if (sizes.size + this.destroyed.length === 0) return []
    const gone = this.destroyed.splice(0).map((label, i) => ({ label, from: copies, at: i * GUARD }))
    const all = [...gone, ...[...sizes].map(([from, at]) => ({ label: from.label, from, at }))]
    const read = device.createBuffer({ size: all.length * GUARD, usage: MAP_READ | COPY_DST, label: 'guards' })
    this.copy(all, read, 0)
    const refusals = await wait(Promise.all(this.refused.splice(0)))
    if (refusals.includes(true)) {
      sizes.clear()
      read.destroy()
      return []
    }
    const lost = await wait(
      read.mapAsync(MAP_READ).then(
        () => false,
        () => true,
      ),
    )
    if (lost) return []
    const words = new Uint32Array(read.getMappedRange())
    const changed = all.filter((_, i) => words.subarray((i * GUARD) / 4, ((i + 1) * GUARD) / 4).some((w) => w !== NAN))
    read.destroy()
    for (const { from, at } of changed) if (sizes.has(from)) device.queue.writeBuffer(from, at, guardWords)
    return changed.map(({ label }) => label)
  }

  private copy(guards: readonly { from: GPUBuffer; at: number }[], to: GPUBuffer, place: number): void {
    this.quietly(() => {
      const encoder = this.device.createCommandEncoder()
      guards.forEach(({ from, at }, i) => encoder.copyBufferToBuffer(from, at, to, place + i * GUARD, GUARD))
      this.device.queue.submit([encoder.finish()])
    })
  }

  private quietly(work: () => void): void {
    this.device.pushErrorScope('validation')
    work()
    this.refused.push(
      this.device.popErrorScope().then(
        (error) => error !== null,
        () => true,
      ),
    )
  }
}

const known = new Map<GPUDevice, Guards>()
const guarded = new Set<Engine>()
const guardsOf = (device: GPUDevice): Guards => {
  if (!known.has(device)) known.set(device, new Guards(device))
  return known.get(device)!
}

/** Gives the buffers that an engine makes from now on a guard each. */
export function guard<E extends Engine>(engine: E): E {
  const make = engine.createBuffer.bind(engine)
  const bind = engine.createBindGroup.bind(engine)
  guardsOf(engine.device)
  guarded.add(engine)
  engine.createBuffer = (size, usage, label) => {
    const { device } = engine
    if (!(usage & STORAGE) || usage & UNIFORM || size + GUARD > device.limits.maxStorageBufferBindingSize)
      return make(size, usage, label)
    const buffer = make(size + GUARD, usage, label)
    guardsOf(device).add(buffer, size, label)
    return buffer
  }
  engine.createBindGroup = (descriptor) => {
    const { sizes } = guardsOf(engine.device)
    const entries = [...descriptor.entries].map((entry) => {
      const { buffer, offset = 0, size = 0 } = entry.resource as GPUBufferBinding
      const reachesEnd = sizes.get(buffer) === offset + size
      return reachesEnd ? { ...entry, resource: { buffer, offset, size: size + GUARD } } : entry
    })
    return bind({ ...descriptor, entries })
  }
  return engine
}

/** The labels of buffers that a kernel has written beyond since the last check. */
export async function writtenBeyond(): Promise<string[]> {
  const found: string[] = []
  const devices = new Map([...guarded].map((engine) => [engine.device, engine]))
  for (const [device, engine] of devices) found.push(...(await guardsOf(device).changed(engine.waitFor)))
  return found
}
