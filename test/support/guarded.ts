/**
 * The shared engine with guards. A device keeps accesses inside a binding: beyond its end a kernel reads or writes one of
 * its own numbers, and a result that is wrong there often looks right. Here each buffer and its binding are longer than
 * asked for, and all of it is NaN at first. Hence a kernel that reads beyond an operand, or memory that nothing has
 * written, gives NaN. A kernel that writes beyond its result changes a guard.
 */
import { expect } from 'vitest'
import type { Engine } from '../../engine/index.js'
import { engine } from './engine.js'

/** Bytes behind each buffer: a vec4 for each of 256 threads. */
const GUARD = 4096
const STORAGE = 0x80
/** A quiet NaN that no computation makes. */
const NAN = 0x7fc0dead

interface Guarded {
  readonly engine: Engine
  /** Fails if a kernel has written to a guard. Call it before the programs are destroyed. */
  check(): Promise<void>
}

export async function guardedEngine(): Promise<Guarded> {
  const own = await engine()
  const sizes = new Map<GPUBuffer, number>()
  const createBuffer = (size: number, usage: number, label: string): GPUBuffer => {
    if (!(usage & STORAGE)) return own.createBuffer(size, usage, label)
    const buffer = own.createBuffer(size + GUARD, usage, label)
    own.device.queue.writeBuffer(buffer, 0, new Uint32Array((size + GUARD) / 4).fill(NAN))
    sizes.set(buffer, size)
    return buffer
  }
  const createBindGroup = (descriptor: GPUBindGroupDescriptor): GPUBindGroup => {
    const entries = [...descriptor.entries].map((entry) => {
      const { buffer, offset = 0, size = 0 } = entry.resource as GPUBufferBinding
      const reachesEnd = sizes.get(buffer) === offset + size
      return reachesEnd ? { ...entry, resource: { buffer, offset, size: size + GUARD } } : entry
    })
    return own.createBindGroup({ ...descriptor, entries })
  }
  const check = async (): Promise<void> => {
    const all = own.createBuffer(sizes.size * GUARD, 0x04 | 0x08, 'guards')
    const encoder = own.device.createCommandEncoder()
    ;[...sizes].forEach(([buffer, size], i) => encoder.copyBufferToBuffer(buffer, size, all, i * GUARD, GUARD))
    own.device.queue.submit([encoder.finish()])
    const words = new Uint32Array((await own.readBuffer(all, 0, sizes.size * GUARD, 'u32')).buffer)
    all.destroy()
    const changed = [...sizes.keys()].filter((_, i) =>
      words.subarray((i * GUARD) / 4, ((i + 1) * GUARD) / 4).some((word) => word !== NAN),
    )
    expect(
      changed.map(({ label }) => label),
      'buffers that a kernel has written beyond',
    ).toEqual([])
  }
  return {
    engine: Object.create(own, { createBuffer: { value: createBuffer }, createBindGroup: { value: createBindGroup } }),
    check,
  }
}
