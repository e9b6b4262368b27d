/** Which physical buffer each temporary lives in, from when it is first and last used. */
import { resolve, type Dispatch, type Storage, type Target } from './plan.js'

export interface MemoryPlan {
  /** Sizes of the pooled buffers, in bytes, from the largest down. */
  readonly pool: readonly number[]
  /** The pooled buffer of each temporary storage. */
  readonly slot: ReadonlyMap<Storage, number>
  /** Pool + inputs + constants + outputs: what the program needs beside its Variables. */
  readonly peakBytes: number
  /** The Variables (whole arenas) that it reads or writes. */
  readonly variableBytes: number
}

/**
 * Liveness planning over whole buffers, since WebGPU tracks usage per buffer and two temporaries of
 * one dispatch must never share one. Storages are placed from the largest down, each into the
 * first buffer that is free for its whole life; a buffer is as large as its first tenant.
 */
export function assignStorages(
  dispatches: readonly Dispatch[],
  storages: readonly Storage[],
  target: Target,
): MemoryPlan {
  const life = new Map<Storage, [first: number, last: number]>()
  dispatches.forEach((dispatch, at) => {
    const written = new Set<Storage>()
    const read = new Set<Storage>()
    for (const binding of dispatch.bindings) {
      const { storage } = resolve(binding)
      ;(binding.write ? written : read).add(storage)
      const span = life.get(storage)
      if (span) span[1] = at
      else life.set(storage, [at, at])
    }
    for (const storage of written)
      if (read.has(storage))
        throw new Error(`${dispatch.op} (${dispatch.kernel}): reads and writes '${storage.label}' in one dispatch`)
  })

  const pool: number[] = []
  const busy: [number, number][][] = []
  const slot = new Map<Storage, number>()
  const temporaries = [...life]
    .filter(([s]) => s.kind === 'temporary')
    .sort(([a], [b]) => b.bytes - a.bytes || a.id - b.id)
  for (const [storage, [first, last]] of temporaries) {
    let k = busy.findIndex((spans) => spans.every(([f, l]) => last < f || l < first))
    if (k < 0) {
      k = pool.push(storage.bytes) - 1
      busy.push([])
    }
    busy[k].push([first, last])
    slot.set(storage, k)
  }
  const total = (kinds: readonly Storage['kind'][]): number =>
    storages.filter((s) => kinds.includes(s.kind)).reduce((sum, s) => sum + s.bytes, 0)
  const largest = Math.max(0, ...pool)
  if (largest > target.maxBufferBytes)
    throw new Error(
      `a temporary of ${largest} bytes is over the adapter's largest buffer of ${target.maxBufferBytes} bytes`,
    )
  return {
    pool,
    slot,
    peakBytes: pool.reduce((a, b) => a + b, 0) + total(['input', 'constant', 'output']),
    variableBytes: total(['variable']),
  }
}

/** Sizes of the buffers that programs need which take turns in one pool: at each place, the largest of theirs. */
export function sharedPool(plans: readonly { readonly memory: MemoryPlan }[]): number[] {
  // Every plan's pool descends in size, so that large buffers meet large ones.
  const length = Math.max(0, ...plans.map(({ memory }) => memory.pool.length))
  return Array.from({ length }, (_, i) => Math.max(...plans.map(({ memory }) => memory.pool[i] ?? 0)))
}

/** Bytes that programs compiled together need beside their Variables: one pool, and each one's inputs, constants and outputs. */
export function sharedPeakBytes(plans: readonly { readonly memory: MemoryPlan }[]): number {
  const total = (sizes: readonly number[]): number => sizes.reduce((a, b) => a + b, 0)
  return total(sharedPool(plans)) + total(plans.map(({ memory }) => memory.peakBytes - total(memory.pool)))
}
