/**
 * A plan is what lowering makes of a graph: dispatches over storages, as data. Nothing here touches a device, so
 * memory is known, and a network that does not fit is refused, before any buffer exists.
 */
import type { Constants } from './kernel.js'
import type { Assignment, TypedArray, Variable } from './leaves.js'
import type { MemoryPlan } from './memory.js'
import { show, type Node, type Value } from './value.js'

/** What lowering needs to know about an adapter. It is a plain object, so that plans can be made without a device. */
export interface Target {
  /** 'cpu': a software driver, where lanes are SIMD lanes and barriers are slow. 'gpu': every other adapter. */
  readonly adapterClass: 'cpu' | 'gpu'
  readonly maxBindingBytes: number
  readonly maxBufferBytes: number
  readonly maxWorkgroupsPerDimension: number
  /** Subgroups of at least 8 lanes. */
  readonly subgroups: boolean
  /** Storage and arithmetic in f16. */
  readonly f16: boolean
  /** Matrix units of 16×16×16 that multiply f16 and sum in f32. */
  readonly subgroupMatrix: boolean
  /** The smallest and the largest number of lanes of a subgroup; zeros without subgroups. */
  readonly subgroupSize: readonly [min: number, max: number]
  /** Whether a kernel may ask for a number of lanes between the two. */
  readonly subgroupSizeControl: boolean
  readonly maxInvocations: number
  readonly maxWorkgroupBytes: number
}

/** A program's results and its effects on Variables. */
export interface ProgramSpec {
  readonly label?: string
  readonly outputs?: Readonly<Record<string, Value>>
  readonly updates?: readonly Assignment[]
}

/** The variant of each product, by `variantKey`. For products not listed here the cost model decides. */
export type VariantTable = ReadonlyMap<string, string>

/** What decides how fast a variant is: the op, the shapes and types of its operands, its attributes. */
export const variantKey = ({ op, inputs, attributes }: Node): string =>
  `${op.name}(${inputs.map((v) => `${v.dtype}${show(v.shape)}`).join(', ')}) ${JSON.stringify(attributes)}`

/** A node of the graph that several variants can compute. Tuning measures these variants. */
export interface Tunable {
  readonly node: Node
  /** Names of the variants that are worth measuring; the one with the lowest estimated cost comes first. */
  readonly variants: readonly string[]
  /** The name of the variant that the plan uses. */
  readonly chosen: string
}

/** A virtual buffer. The memory plan maps temporary storages to real buffers. */
export interface Storage {
  readonly id: number
  readonly bytes: number
  /** A temporary becomes an output where the program returns its bytes as they are. */
  kind: 'temporary' | 'input' | 'constant' | 'variable' | 'output'
  readonly label: string
  /** For kind 'variable': the variable, or the first variable of the arena, that owns the buffer. */
  readonly variable?: Variable
  /** For kind 'constant': the contents. */
  readonly data?: TypedArray
  /** Set when this storage becomes a part of a larger one. */
  within?: Slice
  /** Set where this storage is larger than a buffer may be: the equal parts, one behind another, that hold its bytes. */
  readonly parts?: readonly Storage[]
}

/** A byte range of a storage. */
export interface Slice {
  readonly storage: Storage
  readonly offset: number
  readonly bytes: number
}

export interface Binding extends Slice {
  readonly write: boolean
}

export interface Dispatch {
  readonly kernel: string
  readonly constants: Constants
  /** The words of the kernel's uniform Params. */
  readonly params: Uint32Array
  /** Storage bindings in the kernel's order. */
  readonly bindings: readonly Binding[]
  readonly workgroups: readonly [number, number, number]
  /** The name of the op that recorded it, for profiles and messages. */
  readonly op: string
  /** Multiplications and additions of a product; 0 for dispatches whose time is that of their bytes. */
  readonly flops: number
  /** The node that recorded it; absent where a result is copied to a Variable or an output. */
  readonly node?: Node
}

/** One dispatch as an op asks for it. Params and buffers have the names that the .wgsl file gives them. */
export interface DispatchRequest {
  kernel: string
  constants?: Constants
  params: Record<string, number>
  buffers: Record<string, Slice | undefined>
  workgroups: readonly [number, number?, number?]
  /** Multiplications and additions, where they are many for the bytes. */
  flops?: number
}

export interface Plan {
  readonly label: string
  readonly dispatches: readonly Dispatch[]
  readonly storages: readonly Storage[]
  readonly inputs: ReadonlyMap<string, { value: Value; slice: Slice }>
  readonly outputs: ReadonlyMap<string, { value: Value; slice: Slice }>
  readonly memory: MemoryPlan
  /** The nodes that several variants can compute, by `variantKey`. */
  readonly tunables: ReadonlyMap<string, Tunable>
}

/** The variants that the plans use, as a table for `Engine.variants`: with it the same graphs give the same plans. */
export const variantsOf = (plans: readonly Plan[]): Map<string, string> =>
  new Map(plans.flatMap(({ tunables }) => [...tunables].map(([key, { chosen }]) => [key, chosen] as const)))

/** The same bytes as a slice of the outermost storage that contains them. */
export function resolve(slice: Slice): Slice {
  let { storage, offset } = slice
  while (storage.within) {
    offset += storage.within.offset
    storage = storage.within.storage
  }
  return { storage, offset, bytes: slice.bytes }
}

/** A part of a slice; `offset` and `bytes` are in bytes. */
export const part = (slice: Slice, offset: number, bytes: number): Slice => ({
  storage: slice.storage,
  offset: slice.offset + offset,
  bytes,
})

/** A storage from its first byte to its last. */
export const whole = (storage: Storage): Slice => ({ storage, offset: 0, bytes: storage.bytes })
