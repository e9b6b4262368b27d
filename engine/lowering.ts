/**
 * From a graph to a list of dispatches over storages. Nothing here touches a device: a Plan is data,
 * so that memory is known, and a network that does not fit is found out, before a buffer exists.
 */
import type { KernelLibrary, Constants } from './kernel.js'
import { assignStorages, type MemoryPlan } from './memory.js'
import { reachable } from './autograd.js'
import {
  align,
  inputOp,
  constantOp,
  isSource,
  variableOp,
  Variable,
  type Assignment,
  type TypedArray,
} from './sources.js'
import { show, Value, type Node } from './value.js'

/** What lowering needs to know of an adapter; a plain object, so that plans can be made without one. */
export interface Target {
  /** 'cpu': a software driver, where lanes are SIMD lanes and barriers dear. 'gpu': the rest. */
  readonly adapterClass: 'cpu' | 'gpu'
  readonly maxBindingBytes: number
  readonly maxBufferBytes: number
  readonly maxWorkgroupsPerDimension: number
  /** Subgroups of at least 8 lanes. */
  readonly subgroups: boolean
  /** Storage and arithmetic in f16. */
  readonly f16: boolean
  /** Matrix units that take f16 in and sum in f32, 16×16×16. */
  readonly subgroupMatrix: boolean
  /** Lanes of a subgroup, where subgroups are offered: the smallest and the largest number. */
  readonly subgroupSize: readonly [min: number, max: number]
  readonly maxInvocations: number
  readonly maxWorkgroupBytes: number
}

/** One way to compute an op; `name` stands for it in tables. */
export interface Variant {
  readonly name: string
}

/** The variant chosen for each product, by its `variantKey`; what is not in it goes by the variants' own estimates. */
export type VariantTable = ReadonlyMap<string, string>

/** What decides how fast a variant is: the op, its operands' shapes and types, its attributes. */
export const variantKey = ({ op, inputs, attributes }: Node): string =>
  `${op.name}(${inputs.map((v) => `${v.dtype}${show(v.shape)}`).join(', ')}) ${JSON.stringify(attributes)}`

/** An op that several variants can compute, as lowering met it. */
export interface Choice {
  readonly node: Node
  readonly candidates: readonly Variant[]
  /** The name of the one that was taken. */
  readonly chosen: string
}

/** A virtual buffer; the memory plan places the temporary ones. */
export interface Storage {
  readonly id: number
  readonly bytes: number
  readonly kind: 'temporary' | 'input' | 'constant' | 'variable' | 'output'
  readonly label: string
  /** The variable, or the arena's first variable, whose buffer this is. */
  readonly variable?: Variable
  readonly data?: TypedArray
  /** Set once this storage has been laid into a larger one. */
  within?: Slice
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
  /** Words of the kernel's uniform Params. */
  readonly params: Uint32Array
  /** Storage bindings in the kernel's order. */
  readonly bindings: readonly Binding[]
  readonly workgroups: readonly [number, number, number]
  /** The op that asked for it: profiles and messages name it. */
  readonly op: string
}

/** What an op says of one dispatch; Params and buffers go by the names in the .wgsl file. */
export interface DispatchRequest {
  kernel: string
  constants?: Constants
  params: Record<string, number>
  buffers: Record<string, Slice | undefined>
  workgroups: readonly [number, number?, number?]
}

export interface Plan {
  readonly label: string
  readonly dispatches: readonly Dispatch[]
  readonly storages: readonly Storage[]
  readonly inputs: ReadonlyMap<string, { value: Value; slice: Slice }>
  readonly outputs: ReadonlyMap<string, { value: Value; slice: Slice }>
  readonly memory: MemoryPlan
  /** What there was to choose: products that several variants can compute. */
  readonly choices: ReadonlyMap<string, Choice>
}

export interface ProgramSpec {
  readonly label?: string
  readonly outputs?: Readonly<Record<string, Value>>
  readonly updates?: readonly Assignment[]
}

/** The variants that plans go by, as `Engine.variants` takes them: with these, the same plans come again. */
export const variantsOf = (plans: readonly Plan[]): Map<string, string> =>
  new Map(plans.flatMap(({ choices }) => [...choices].map(([key, { chosen }]) => [key, chosen] as const)))

/** Where in its storage a slice really lies, through all the storages it was laid into. */
export function resolve(slice: Slice): Slice {
  let { storage, offset } = slice
  while (storage.within) {
    offset += storage.within.offset
    storage = storage.within.storage
  }
  return { storage, offset, bytes: slice.bytes }
}

/** A part of a slice, in bytes. */
export const part = (slice: Slice, offset: number, bytes: number): Slice => ({
  storage: slice.storage,
  offset: slice.offset + offset,
  bytes,
})

/** What an op's `lower` works with. */
export class Emit {
  readonly dispatches: Dispatch[] = []
  readonly storages: Storage[] = []
  private readonly slices = new Map<Value, Slice>()
  private readonly uses = new Map<Value, number>()
  private readonly kept = new Set<Value>()
  private readonly sharers = new Map<Storage, number>()
  private readonly updated = new Map<Value, Variable>()
  private readonly variableStorages = new Map<unknown, Storage>()
  private current!: Node
  private readonly choices = new Map<string, Choice>()

  constructor(
    readonly target: Target,
    private readonly library: KernelLibrary,
    private readonly variants: Pick<VariantTable, 'get'> = new Map(),
  ) {}

  /**
   * The variant that computes this node: the table's, else the first.
   *
   * @param candidates those worth measuring, best first
   * @param able all that could compute it, which a table may name
   */
  choose<V extends Variant>(candidates: readonly V[], able: readonly V[] = candidates): V {
    const key = variantKey(this.current)
    const name = this.variants.get(key)
    const variant = able.find((v) => v.name === name) ?? candidates[0]
    if (candidates.length > 1) this.choices.set(key, { node: this.current, candidates, chosen: variant.name })
    return variant
  }

  /** The bytes of a Value that has been computed, or of an output of this node (allocated on first use). */
  of(value: Value): Slice {
    let slice = this.slices.get(value)
    if (!slice) {
      if (value.node !== this.current)
        throw new Error(`${this.current.op.name}: reads ${value.node.op.name} before it is computed`)
      slice = this.allocate(value)
      this.place(value, slice)
    }
    return slice
  }

  /** Scratch memory that lives within this node. */
  temporary(bytes: number): Slice {
    return whole(this.add({ bytes, kind: 'temporary', label: `${this.current.op.name} scratch` }))
  }

  /** Lets an output be (a part of) an input: no kernel runs, no byte moves. */
  alias(output: Value, slice: Slice): void {
    this.place(output, slice)
  }

  /**
   * The slice of an output that is computed in place of `input`: the input's own bytes where nothing
   * reads them later (or where they are the Variable that the output is assigned to), else a copy.
   */
  inPlace(output: Value, input: Value): Slice {
    const slice = this.of(input)
    const variable = this.updated.get(output)
    const free =
      this.uses.get(input) === 1 &&
      !this.kept.has(input) &&
      (variable !== undefined
        ? variable === input
        : slice.storage.kind === 'temporary' && !slice.storage.within && this.sharers.get(slice.storage) === 1)
    if (free) {
      this.place(output, slice)
      return slice
    }
    const copy = this.of(output)
    this.copy(slice, copy)
    return copy
  }

  /** Lays values that are temporaries of their own one behind another, so that one dispatch covers them. */
  colocate(values: readonly Value[], offsets: readonly number[], bytes: number): boolean {
    const slices = values.map((v) => this.of(v))
    const movable = (s: Slice): boolean =>
      s.storage.kind === 'temporary' && !s.storage.within && s.offset === 0 && s.bytes === s.storage.bytes
    if (new Set(slices.map((s) => s.storage)).size !== slices.length || !slices.every(movable)) return false
    const arena = this.add({ bytes, kind: 'temporary', label: `${this.current.op.name} arena` })
    slices.forEach((s, i) => (s.storage.within = { storage: arena, offset: offsets[i], bytes: s.bytes }))
    return true
  }

  /** Records one dispatch. */
  dispatch(request: DispatchRequest): void {
    const kernel = this.library.get(request.kernel)
    const where = `${this.current?.op.name ?? 'copy'} (${request.kernel})`
    const [x, y = 1, z = 1] = request.workgroups
    if (Math.max(x, y, z) > this.target.maxWorkgroupsPerDimension || Math.min(x, y, z) < 1)
      throw new Error(
        `${where}: ${x}×${y}×${z} workgroups, of which a dimension takes 1 to ${this.target.maxWorkgroupsPerDimension}`,
      )
    const bindings = kernel.storageBindings.map(({ name, write }) => {
      // An operand that a specialisation does not use still needs something bound.
      const slice = request.buffers[name] ?? this.unused()
      if (slice.bytes > this.target.maxBindingBytes)
        throw new Error(
          `${where}: '${name}' binds ${slice.bytes} bytes, over the adapter's ${this.target.maxBindingBytes}`,
        )
      return { ...slice, write: write && request.buffers[name] !== undefined }
    })
    for (const name of Object.keys(request.buffers))
      if (!kernel.storageBindings.some((b) => b.name === name)) throw new Error(`${where}: no binding '${name}'`)
    this.dispatches.push({
      kernel: request.kernel,
      constants: request.constants ?? {},
      params: kernel.packParams(request.params),
      bindings,
      workgroups: [x, y, z],
      op: this.current?.op.name ?? 'copy',
    })
  }

  /** Copies bytes (a multiple of 4) from one slice to another. */
  copy(from: Slice, to: Slice): void {
    for (const { offset, bytes } of pieces(from.bytes, this.target.maxBindingBytes))
      this.dispatch({
        kernel: 'copy',
        params: { count: bytes / 4 },
        buffers: { source: part(from, offset, bytes), destination: part(to, offset, bytes) },
        workgroups: [this.grid(bytes / 4, 256)],
      })
  }

  /** Workgroups for an elementwise kernel that strides over its grid. */
  grid(invocations: number, workgroupSize: number): number {
    return Math.max(1, Math.min(Math.ceil(invocations / workgroupSize), 16384, this.target.maxWorkgroupsPerDimension))
  }

  /**
   * Splits `count` rows into runs that each operand can bind: every run starts at an aligned offset
   * and stays below the binding limit. `bytesPerRow` has one entry an operand that is split.
   */
  rows(count: number, ...bytesPerRow: number[]): { start: number; count: number }[] {
    return this.rowsUpTo(count, count, ...bytesPerRow)
  }

  /** The same, with runs of at most so many rows (or as few more as an aligned offset takes). */
  rowsUpTo(most: number, count: number, ...bytesPerRow: number[]): { start: number; count: number }[] {
    const widest = Math.max(...bytesPerRow)
    if (count <= most && widest * count <= this.target.maxBindingBytes) return [{ start: 0, count }]
    // Rows step by as many as bring every operand back to an aligned offset.
    const step = bytesPerRow.reduce((s, bytes) => lcm(s, 256 / gcd(bytes, 256)), 1)
    const fits = Math.floor(this.target.maxBindingBytes / widest / step) * step
    const run = Math.min(fits, Math.max(step, Math.floor(most / step) * step))
    if (run < 1)
      throw new Error(`${this.current.op.name}: a row of ${widest} bytes is over the adapter's binding limit`)
    const runs = []
    for (let start = 0; start < count; start += run) runs.push({ start, count: Math.min(run, count - start) })
    return runs
  }

  /** Lowers a whole graph. */
  run(spec: ProgramSpec): Plan {
    const outputs = Object.entries(spec.outputs ?? {})
    const updates = spec.updates ?? []
    const roots = [...outputs.map(([, v]) => v), ...updates.map((u) => u.value)]
    if (roots.length === 0) throw new Error('a program needs at least one output or update')
    for (const [i, u] of updates.entries()) {
      if (updates.findIndex((o) => o.variable === u.variable) !== i)
        throw new Error(`variable '${u.variable.name}' is assigned twice in one program`)
      if (u.value.node.op !== variableOp) this.updated.set(u.value, u.variable)
    }
    for (const v of roots) this.kept.add(v)
    // A Variable asked for as an output is its value before the updates.
    const early = outputs.filter(([, v]) => v.node.op === variableOp)
    const nodes = schedule(reachable(roots), new Set(updates.map((u) => u.value.node)))
    for (const node of nodes) for (const v of node.inputs) this.uses.set(v, (this.uses.get(v) ?? 0) + 1)

    const inputs = new Map<string, { value: Value; slice: Slice }>()
    const copies = new Map<string, Slice>()
    for (const node of nodes) {
      this.current = node
      if (isSource(node.op)) this.source(node, inputs)
      else node.op.lower(node, this)
      for (const v of node.outputs) if (this.uses.has(v) || this.kept.has(v)) this.of(v)
      for (const v of node.inputs) this.uses.set(v, this.uses.get(v)! - 1)
      for (const [name, v] of early) if (v.node === node) copies.set(name, this.output(name, v))
    }
    this.current = { op: { name: 'assign' } } as unknown as Node
    this.assign(updates)
    const named = new Map(
      outputs.map(([name, value]) => [name, { value, slice: copies.get(name) ?? this.output(name, value) }]),
    )
    return {
      label: spec.label ?? 'program',
      dispatches: this.dispatches,
      storages: this.storages,
      inputs,
      outputs: named,
      memory: assignStorages(this.dispatches, this.storages, this.target),
      choices: this.choices,
    }
  }

  private source(node: Node, inputs: Map<string, { value: Value; slice: Slice }>): void {
    if (node.op === inputOp) {
      const value = node.outputs[0]
      const { name } = node.attributes as { name: string }
      if (inputs.has(name)) throw new Error(`two inputs of the program are called '${name}'`)
      const slice = whole(this.add({ bytes: pad(value.bytes), kind: 'input', label: name }))
      this.place(value, { ...slice, bytes: pad(value.bytes) })
      inputs.set(name, { value, slice })
    } else if (node.op === constantOp) {
      const { data } = node.attributes as { data: TypedArray }
      this.place(
        node.outputs[0],
        whole(this.add({ bytes: pad(data.byteLength), kind: 'constant', label: 'constant', data })),
      )
    } else {
      const { variable } = node.attributes as { variable: Variable }
      this.place(variable, this.variableSlice(variable))
    }
  }

  /** Everything of an arena shares one storage. */
  private variableSlice(variable: Variable): Slice {
    const owner = variable.arena?.arena ?? variable
    let storage = this.variableStorages.get(owner)
    if (!storage) {
      const bytes = variable.arena ? variable.arena.arena.bytes : pad(variable.bytes)
      storage = this.add({ bytes, kind: 'variable', label: variable.name, variable })
      this.variableStorages.set(owner, storage)
    }
    return { storage, offset: variable.arena?.offset ?? 0, bytes: pad(variable.bytes) }
  }

  /** Values that were not computed in place are copied; first aside, where a Variable is both read and written. */
  private assign(updates: readonly Assignment[]): void {
    const written = new Set(updates.map((u) => this.variableSlice(u.variable).storage))
    const copies = updates
      .map((u) => ({ from: this.slices.get(u.value)!, to: this.variableSlice(u.variable) }))
      .filter(({ from, to }) => resolve(from).storage !== to.storage || resolve(from).offset !== to.offset)
      .map(({ from, to }) => {
        if (!written.has(resolve(from).storage)) return { from, to }
        const aside = this.temporary(from.bytes)
        this.copy(from, aside)
        return { from: aside, to }
      })
    for (const { from, to } of copies) this.copy(from, to)
  }

  /** Outputs keep their bytes until the next run: those that share bytes with something else are copied. */
  private output(name: string, value: Value): Slice {
    const slice = this.slices.get(value)!
    const { storage } = slice
    if (storage.kind === 'output') return slice
    if (storage.kind === 'temporary' && !storage.within && slice.offset === 0 && slice.bytes === storage.bytes) {
      ;(storage as { kind: Storage['kind'] }).kind = 'output'
      return slice
    }
    const copy = whole(this.add({ bytes: slice.bytes, kind: 'output', label: name }))
    this.copy(slice, copy)
    return copy
  }

  private allocate(value: Value): Slice {
    const bytes = pad(value.bytes)
    if (bytes > this.target.maxBufferBytes)
      throw new Error(
        `${value.node.op.name}: its output ${show(value.shape)} takes ${mebibytes(bytes)}, over the adapter's largest buffer ` +
          `of ${mebibytes(this.target.maxBufferBytes)}: use a smaller batch, fewer views or a narrower network`,
      )
    return whole(this.add({ bytes, kind: 'temporary', label: value.node.op.name }))
  }

  private place(value: Value, slice: Slice): void {
    this.slices.set(value, slice)
    this.sharers.set(slice.storage, (this.sharers.get(slice.storage) ?? 0) + 1)
  }

  private add(storage: Omit<Storage, 'id'>): Storage {
    const made = { ...storage, id: this.storages.length }
    this.storages.push(made)
    return made
  }

  private none?: Slice
  private unused(): Slice {
    return (this.none ??= whole(
      this.add({ bytes: 256, kind: 'constant', label: 'unused operand', data: new Uint32Array(64) }),
    ))
  }
}

/**
 * In the order of creation, with what updates Variables moved to the end: within a program all reads
 * of a Variable come before its write, whatever the order in which the graph was built.
 */
function schedule(nodes: readonly Node[], updating: ReadonlySet<Node>): Node[] {
  const consumed = new Set<Node>()
  for (const node of nodes) for (const v of node.inputs) consumed.add(v.node)
  const late = (node: Node): boolean => updating.has(node) && !consumed.has(node)
  return [...nodes.filter((n) => !late(n)), ...nodes.filter(late)]
}

const whole = (storage: Storage): Slice => ({ storage, offset: 0, bytes: storage.bytes })

/** Buffers and bindings are multiples of 16 bytes, so that kernels may load the last vec4 whole. */
const pad = (bytes: number): number => Math.max(16, Math.ceil(bytes / 16) * 16)

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`

function pieces(bytes: number, limit: number): { offset: number; bytes: number }[] {
  const size = align(limit + 1) - 256
  const list = []
  for (let offset = 0; offset < bytes; offset += size) list.push({ offset, bytes: Math.min(size, bytes - offset) })
  return list
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))
const lcm = (a: number, b: number): number => (a / gcd(a, b)) * b
