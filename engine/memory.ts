/** The memory plan: which buffer of a pool each temporary uses, given the dispatches that use it first and last. */
import { resolve, type Dispatch, type HostStep, type Storage, type Target } from './plan.js'

export interface MemoryPlan {
  /** Sizes of the pool's buffers in bytes, in descending order. */
  readonly pool: readonly number[]
  /** The index of each temporary's buffer in the pool. */
  readonly slot: ReadonlyMap<Storage, number>
  /** Bytes of the pool, inputs, constants and outputs: what the program needs beside its Variables. */
  readonly peakBytes: number
  /** Bytes of the Variables, as whole arenas, that the program reads or writes. */
  readonly variableBytes: number
}

/**
 * Plans memory by liveness, in whole buffers: WebGPU tracks usage by buffer, so two temporaries of one dispatch must
 * not share one. The largest storage is placed first. Each storage gets the first buffer that is free for its whole
 * life; a new buffer has the size of the first storage in it.
 *
 * @throws Error if a dispatch reads and writes one storage, or a buffer is larger than the adapter allows
 */
export function assignStorages(
  dispatches: readonly Dispatch[],
  storages: readonly Storage[],
  target: Target,
  host: readonly HostStep[] = [],
): MemoryPlan {
  const life = new Map<Storage, [first: number, last: number]>()
  const use = (storage: Storage, at: number): void => {
    const [first, last] = life.get(storage) ?? [at, at]
    life.set(storage, [Math.min(first, at), Math.max(last, at)])
  }
  dispatches.forEach((dispatch, at) => {
    const written = new Set<Storage>()
    const read = new Set<Storage>()
    for (const binding of dispatch.bindings) {
      const { storage } = resolve(binding)
      ;(binding.write ? written : read).add(storage)
      use(storage, at)
    }
    for (const storage of written)
      if (read.has(storage))
        throw new Error(`${dispatch.op} (${dispatch.kernel}): reads and writes '${storage.label}' in one dispatch`)
  })

  // A step of the host is between two dispatches.
  for (const { at, slices } of host) for (const slice of slices) use(resolve(slice).storage, at - 0.5)

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
      `a temporary of ${largest} bytes is over the adapter's largest buffer of ${target.maxBufferBytes} bytes: ` +
        'use a smaller batch, fewer views, smaller images or a narrower network',
    )
  return {
    pool,
    slot,
    peakBytes: pool.reduce((a, b) => a + b, 0) + total(['input', 'constant', 'output']),
    variableBytes: total(['variable']),
  }
}

/** Sizes of the buffers of a pool that several programs share: at each index, the largest size that a program needs. */
export function sharedPool(plans: readonly { readonly memory: MemoryPlan }[]): number[] {
  // The sizes of each pool descend, so large buffers are matched with large ones.
  const length = Math.max(0, ...plans.map(({ memory }) => memory.pool.length))
  return Array.from({ length }, (_, i) => Math.max(...plans.map(({ memory }) => memory.pool[i] ?? 0)))
}

/**
 * Bytes that programs compiled together need beside their Variables: one shared pool, and the inputs, constants and
 * outputs of each.
 */
export function sharedPeakBytes(plans: readonly { readonly memory: MemoryPlan }[]): number {
  const total = (sizes: readonly number[]): number => sizes.reduce((a, b) => a + b, 0)
  return total(sharedPool(plans)) + total(plans.map(({ memory }) => memory.peakBytes - total(memory.pool)))
}
