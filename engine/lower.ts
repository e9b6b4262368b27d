/** Lowering: from a graph to a plan. Each op lowers itself. This file orders the nodes and allocates the storages. */
import type { KernelLibrary } from './kernel.js'
import { constantOp, inputOp, isLeaf, variableOp, Variable, type Assignment, type TypedArray } from './leaves.js'
import type { LoweringContext, RowRun } from './lowering_context.js'
import { inOnePart, mebibytes, partsFor, pieces, REMEDY, slicesByBuffer, uneven } from './large_storages.js'
import { assignStorages } from './memory.js'
import {
  part,
  resolve,
  variantKey,
  whole,
  type Dispatch,
  type DispatchRequest,
  type Exchange,
  type HostStep,
  type Plan,
  type ProgramSpec,
  type Slice,
  type Storage,
  type Target,
  type Tunable,
  type VariantTable,
} from './plan.js'
import { reachable, show, Value, type Node } from './value.js'

export interface LoweringOptions {
  readonly target: Target
  readonly library: KernelLibrary
  /** Empty by default: the cost model then decides about every product. */
  readonly variants?: Pick<VariantTable, 'get'>
}

/**
 * Lowers a graph to a plan, without a device.
 *
 * @throws Error that names the op whose result or operand is larger than the adapter allows
 */
export const lower = (spec: ProgramSpec, options: LoweringOptions): Plan => new Lowering(options).lower(spec)

class Lowering implements LoweringContext {
  readonly target: Target
  private readonly library: KernelLibrary
  private readonly variants: Pick<VariantTable, 'get'>
  private readonly dispatches: Dispatch[] = []
  private readonly host: HostStep[] = []
  private readonly storages: Storage[] = []
  private readonly inputs = new Map<string, { value: Value; slice: Slice }>()
  private readonly tunables = new Map<string, Tunable>()
  private readonly slices = new Map<Value, Slice>()
  /** How many nodes, from the current one on, read a value. */
  private readonly uses = new Map<Value, number>()
  /** Values that the program returns or assigns. */
  private readonly kept = new Set<Value>()
  /** How many values share a storage. */
  private readonly sharers = new Map<Storage, number>()
  /** The Variable that each value is assigned to. */
  private readonly updated = new Map<Value, Variable>()
  private readonly variableStorages = new Map<unknown, Storage>()
  /** The node that is being lowered; undefined while Variables are assigned. */
  private current: Node | undefined

  constructor({ target, library, variants = new Map() }: LoweringOptions) {
    this.target = target
    this.library = library
    this.variants = variants
  }

  lower(spec: ProgramSpec): Plan {
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
    const nodes = schedule(reachable(roots), new Set(updates.map((u) => u.value.node)))
    for (const node of nodes) for (const v of node.inputs) this.uses.set(v, (this.uses.get(v) ?? 0) + 1)

    // An output that is a Variable returns the Variable's value before the updates.
    const early = outputs.filter(([, v]) => v.node.op === variableOp)
    const copies = new Map<string, Slice>()
    for (const node of nodes) {
      this.node(node)
      for (const [name, v] of early) if (v.node === node) copies.set(name, this.output(name, v))
    }
    this.current = undefined
    this.assign(updates)
    const named = new Map(
      outputs.map(([name, value]) => [name, { value, slice: copies.get(name) ?? this.output(name, value) }]),
    )
    return {
      label: spec.label ?? 'program',
      dispatches: this.dispatches,
      host: this.host,
      storages: this.storages,
      inputs: this.inputs,
      outputs: named,
      memory: assignStorages(this.dispatches, this.storages, this.target, this.host),
      tunables: this.tunables,
    }
  }

  private node(node: Node): void {
    this.current = node
    if (isLeaf(node.op)) this.leaf(node)
    else node.op.lower(node, this)
    for (const v of node.outputs) if (this.uses.has(v) || this.kept.has(v)) this.of(v)
    for (const v of node.inputs) this.uses.set(v, this.uses.get(v)! - 1)
  }

  /** Names the current work in labels and messages. */
  private get opName(): string {
    return this.current?.op.name ?? 'assign'
  }

  choose<V extends { readonly name: string }>(variants: readonly V[], able: readonly V[] = variants): V {
    const node = this.current!
    const key = variantKey(node)
    const name = this.variants.get(key)
    const chosen = able.find((v) => v.name === name) ?? variants[0]
    if (variants.length > 1)
      this.tunables.set(key, { node, variants: variants.map((v) => v.name), chosen: chosen.name })
    return chosen
  }

  of(value: Value): Slice {
    let slice = this.slices.get(value)
    if (!slice) {
      if (value.node !== this.current)
        throw new Error(`${this.opName}: reads ${value.node.op.name} before it is computed`)
      slice = this.allocate(value)
      this.place(value, slice)
    }
    return slice
  }

  temporary(bytes: number): Slice {
    return this.addCut(bytes, 'temporary', `${this.opName} scratch`)
  }

  alias(output: Value, slice: Slice): void {
    this.place(output, slice)
  }

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

  colocate(values: readonly Value[], offsets: readonly number[], bytes: number): boolean {
    const slices = values.map((v) => this.of(v))
    const movable = (s: Slice): boolean =>
      s.storage.kind === 'temporary' &&
      !s.storage.within &&
      !s.storage.parts &&
      s.offset === 0 &&
      s.bytes === s.storage.bytes
    if (new Set(slices.map((s) => s.storage)).size !== slices.length || !slices.every(movable)) return false
    const arena = this.add({ bytes, kind: 'temporary', label: `${this.opName} arena` })
    slices.forEach((s, i) => (s.storage.within = { storage: arena, offset: offsets[i], bytes: s.bytes }))
    return true
  }

  dispatch(request: DispatchRequest): void {
    const kernel = this.library.get(request.kernel)
    const where = `${this.opName} (${request.kernel})`
    const [x, y = 1, z = 1] = request.workgroups
    if (Math.max(x, y, z) > this.target.maxWorkgroupsPerDimension || Math.min(x, y, z) < 1)
      throw new Error(
        `${where}: ${x}×${y}×${z} workgroups; each dimension must be from 1 to ${this.target.maxWorkgroupsPerDimension}`,
      )
    const bindings = kernel.storageBindings.map(({ name, write }) => {
      // WebGPU requires a buffer even for an operand that this specialisation does not use.
      const slice = request.buffers[name] ?? this.unused()
      if (slice.bytes > this.target.maxBindingBytes)
        throw new Error(
          `${where}: '${name}', the ${slice.storage.kind} '${slice.storage.label}', binds ${mebibytes(slice.bytes)}, ` +
            `over the adapter's limit of ${mebibytes(this.target.maxBindingBytes)} for a binding: ${REMEDY}`,
        )
      return { ...inOnePart(slice, `${where}: '${name}'`), write: write && request.buffers[name] !== undefined }
    })
    for (const name of Object.keys(request.buffers))
      if (!kernel.storageBindings.some((b) => b.name === name)) throw new Error(`${where}: no binding '${name}'`)
    this.dispatches.push({
      kernel: request.kernel,
      constants: request.constants ?? {},
      params: kernel.packParams(request.params),
      bindings,
      workgroups: [x, y, z],
      op: this.opName,
      flops: request.flops ?? 0,
      ...(this.current && { node: this.current }),
    })
  }

  exchange(kind: HostStep['kind'], exchange: Exchange, slices: readonly Slice[]): void {
    this.host.push({ at: this.dispatches.length, kind, exchange, slices: slices.flatMap(slicesByBuffer) })
  }

  copy(from: Slice, to: Slice): void {
    const parts = Math.max(...[from, to].map(({ storage }) => storage.parts?.length ?? 1))
    for (const { offset, bytes } of pieces(from.bytes, parts, this.target.maxBindingBytes))
      this.dispatch({
        kernel: 'copy',
        params: { count: bytes / 4 },
        buffers: { source: part(from, offset, bytes), destination: part(to, offset, bytes) },
        workgroups: [this.grid(bytes / 4, 256)],
      })
  }

  grid(invocations: number, workgroupSize: number): number {
    return Math.max(1, Math.min(Math.ceil(invocations / workgroupSize), 16384, this.target.maxWorkgroupsPerDimension))
  }

  rows(count: number, ...bytesPerRow: number[]): RowRun[] {
    return this.rowsUpTo(count, count, ...bytesPerRow)
  }

  rowsUpTo(most: number, count: number, ...bytesPerRow: number[]): RowRun[] {
    const widest = Math.max(...bytesPerRow)
    const parts = partsFor(widest * count, this.target)
    if (parts > 1) {
      // An operand is larger than a buffer: no run crosses the end of one of its parts, or of the other operands' parts.
      const each = count / parts
      if (!bytesPerRow.every((bytes) => (bytes * each) % 256 === 0)) throw new Error(`${this.opName}: ${uneven(parts)}`)
      const runs = this.rowsUpTo(most, each, ...bytesPerRow)
      return Array.from({ length: parts }, (_, i) =>
        runs.map((run) => ({ start: i * each + run.start, count: run.count })),
      ).flat()
    }
    if (count <= most && widest * count <= this.target.maxBindingBytes) return [{ start: 0, count }]
    // The smallest number of rows after which every operand is at an aligned offset again.
    const step = bytesPerRow.reduce((s, bytes) => lcm(s, 256 / gcd(bytes, 256)), 1)
    const fits = Math.floor(this.target.maxBindingBytes / widest / step) * step
    const run = Math.min(fits, Math.max(step, Math.floor(most / step) * step))
    if (run < 1) {
      const rows = widest > this.target.maxBindingBytes ? 1 : step
      const what = rows === 1 ? `a row of ${widest} bytes is` : `${rows} rows of ${widest} bytes, bound together, are`
      throw new Error(
        `${this.opName}: ${what} over the adapter's binding limit of ${this.target.maxBindingBytes} bytes: ${REMEDY}`,
      )
    }
    const runs = []
    for (let start = 0; start < count; start += run) runs.push({ start, count: Math.min(run, count - start) })
    return runs
  }

  private leaf(node: Node): void {
    if (node.op === inputOp) {
      const value = node.outputs[0]
      const { name } = node.attributes as { name: string }
      if (this.inputs.has(name)) throw new Error(`two inputs of the program are called '${name}'`)
      const slice = this.addCut(pad(value.bytes), 'input', name)
      this.place(value, { ...slice, bytes: pad(value.bytes) })
      this.inputs.set(name, { value, slice })
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

  /** The Variables of an arena share one storage. */
  private variableSlice(variable: Variable): Slice {
    const owner = variable.arena?.arena ?? variable
    let storage = this.variableStorages.get(owner)
    if (!storage) {
      const bytes = variable.arena ? variable.arena.arena.bytes : pad(variable.bytes)
      // Programs and the host bind a Variable as one buffer, so it is not cut.
      if (bytes > this.target.maxBufferBytes)
        throw new Error(
          `the buffer of variable '${variable.name}' ${show(variable.shape)} takes ${mebibytes(bytes)}, ` +
            `over the adapter's largest buffer of ${mebibytes(this.target.maxBufferBytes)}: ${REMEDY}`,
        )
      storage = this.add({ bytes, kind: 'variable', label: variable.name, variable })
      this.variableStorages.set(owner, storage)
    }
    return { storage, offset: variable.arena?.offset ?? 0, bytes: pad(variable.bytes) }
  }

  /**
   * Copies the values that were not computed in place. A value whose storage is overwritten by another assignment is
   * copied to a temporary first.
   */
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

  /** Outputs keep their bytes until the next run, so an output that shares its bytes with another value is copied. */
  private output(name: string, value: Value): Slice {
    const slice = this.slices.get(value)!
    const { storage } = slice
    if (storage.kind === 'output') return slice
    if (storage.kind === 'temporary' && !storage.within && slice.offset === 0 && slice.bytes === storage.bytes) {
      for (const one of [storage, ...(storage.parts ?? [])]) one.kind = 'output'
      return slice
    }
    const copy = this.addCut(slice.bytes, 'output', name)
    this.copy(slice, copy)
    return copy
  }

  private allocate(value: Value): Slice {
    return this.addCut(pad(value.bytes), 'temporary', value.node.op.name)
  }

  /** Adds a storage. If one buffer cannot hold it, it is cut into 2, 4, … equal parts, and each part is a buffer. */
  private addCut(bytes: number, kind: 'temporary' | 'input' | 'output', label: string): Slice {
    const count = partsFor(bytes, this.target)
    if (count === 1) return whole(this.add({ bytes, kind, label }))
    if (bytes % (256 * count)) throw new Error(`${label}: ${uneven(count)}`)
    const parts = Array.from({ length: count }, () => this.add({ bytes: bytes / count, kind, label }))
    // Only its parts are in the plan.
    return whole({ id: -1, bytes, kind, label, parts })
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
 * The nodes in the order of their creation, except that nodes which only update Variables come last, and early ones
 * directly after the last of their inputs. Thus all reads of a Variable come before its write, in whatever order the
 * graph was built.
 */
function schedule(nodes: readonly Node[], updating: ReadonlySet<Node>): Node[] {
  const consumed = new Set<Node>()
  for (const node of nodes) for (const v of node.inputs) consumed.add(v.node)
  const late = (node: Node): boolean => updating.has(node) && !consumed.has(node)
  const ordered = [...nodes.filter((n) => !late(n)), ...nodes.filter(late)]
  if (!nodes.some(isEarly)) return ordered
  /** A node's place; an early one has that of its last input. */
  const place = new Map(ordered.map((node, i) => [node, i]))
  for (const node of nodes) if (isEarly(node)) place.set(node, Math.max(...node.inputs.map((v) => place.get(v.node)!)))
  return ordered.sort((a, b) => place.get(a)! - place.get(b)! || a.id - b.id)
}

const isEarly = ({ op, attributes }: Node): boolean => op.early?.(attributes) === true

/** Buffers and bindings are multiples of 16 bytes, so that kernels can load the last vec4 as a whole. */
const pad = (bytes: number): number => Math.max(16, Math.ceil(bytes / 16) * 16)

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))
const lcm = (a: number, b: number): number => (a / gcd(a, b)) * b
