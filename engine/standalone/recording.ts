/**
 * A graph recorded for the caller's own device and buffers. It is lowered to a plan like every program. But its inputs,
 * outputs and Variables are buffers of the caller, and its dispatches go into a compute pass of the caller.
 */
import { bindGroupEntries, layOutParams, STORAGE_USAGE, UNIFORM_USAGE, upload } from '../bindings.js'
import { lower } from '../lower.js'
import { resolve, type Plan, type ProgramSpec, type Slice, type Storage } from '../plan.js'
import type { DType, Value } from '../value.js'
import { stateOf, type DeviceState } from './devices.js'

/** A buffer of the caller with usage STORAGE, from `offset` bytes on (a multiple of 256). */
export type Operand = GPUBuffer | { readonly buffer: GPUBuffer; readonly offset?: number }

/** What a recorded kernel expects for one operand. */
export interface OperandSpec {
  readonly shape: readonly number[]
  readonly dtype: DType
  /** Bytes that the buffer must have from its offset on: the dense tensor, rounded up to a multiple of 16. */
  readonly bytes: number
  readonly access: 'read' | 'write' | 'read_write'
}

/** An op compiled for a device and for given shapes. `N` are the names of its operands. */
export interface RecordedKernel<N extends string> {
  readonly operands: Readonly<Record<N, OperandSpec>>
  /** Bytes of device memory that it keeps for intermediate results until `destroy`. */
  readonly workspaceBytes: number
  /**
   * Records the op's dispatches into a compute pass. It may be called any number of times. Bind groups are reused, so
   * that encoding with the same buffers again creates nothing.
   *
   * @throws Error in one line for a missing, unknown or too small operand
   */
  encode(pass: GPUComputePassEncoder, operands: Readonly<Record<N, Operand>>): void
  /** Frees the workspace. */
  destroy(): void
}

/** How many sets of buffers keep their bind groups. A caller that alternates between a few sets makes no new ones. */
const KEPT_SETS = 32

/**
 * Compiles a graph. Its `input`s, outputs and Variables are the operands, by their names.
 *
 * @throws Error that names the op if shapes do not fit, memory is short or a kernel does not compile
 */
export async function record<N extends string>(
  device: GPUDevice,
  label: string,
  spec: ProgramSpec,
): Promise<RecordedKernel<N>> {
  const state = await stateOf(device)
  const plan = lower({ ...spec, label }, state)
  const pipelines = await Promise.all(plan.dispatches.map((d) => state.pipelines.pipeline(d.kernel, d.constants)))
  device.pushErrorScope('out-of-memory')
  const recording = new Recording(device, state, plan, pipelines)
  const short = await device.popErrorScope()
  if (short) {
    recording.destroy()
    throw new Error(
      `${label}: the device cannot allocate a workspace of ${recording.workspaceBytes} bytes: ${short.message}`,
    )
  }
  return recording
}

class Recording implements RecordedKernel<string> {
  readonly operands: Readonly<Record<string, OperandSpec>>
  readonly workspaceBytes: number
  private readonly owned: GPUBuffer[] = []
  private readonly nameOf = new Map<Storage, string>()
  private readonly bufferOf = new Map<Storage, GPUBuffer>()
  private readonly paramsOffsets: readonly number[]
  private readonly params: GPUBuffer
  private readonly groups = new Map<string, GPUBindGroup[]>()

  constructor(
    private readonly device: GPUDevice,
    private readonly state: DeviceState,
    private readonly plan: Plan,
    private readonly pipelines: readonly GPUComputePipeline[],
  ) {
    this.operands = this.nameOperands()
    this.workspaceBytes = plan.memory.pool.reduce((a, b) => a + b, 0)
    const pool = plan.memory.pool.map((bytes) => this.make(bytes, STORAGE_USAGE))
    for (const [storage, k] of plan.memory.slot) this.bufferOf.set(storage, pool[k])
    for (const storage of plan.storages)
      if (storage.data) {
        const buffer = this.make(storage.bytes, STORAGE_USAGE)
        upload(device, buffer, 0, storage.data)
        this.bufferOf.set(storage, buffer)
      }
    const { words, offsets } = layOutParams(plan.dispatches)
    this.paramsOffsets = offsets
    this.params = this.make(words.byteLength, UNIFORM_USAGE)
    upload(device, this.params, 0, words)
  }

  encode(pass: GPUComputePassEncoder, operands: Readonly<Record<string, Operand>>): void {
    const groups = this.bindGroups(operands)
    this.plan.dispatches.forEach(({ workgroups }, i) => {
      pass.setPipeline(this.pipelines[i])
      pass.setBindGroup(0, groups[i])
      pass.dispatchWorkgroups(...workgroups)
    })
  }

  destroy(): void {
    for (const buffer of this.owned) buffer.destroy()
    this.groups.clear()
  }

  private make(size: number, usage: number): GPUBuffer {
    const buffer = this.device.createBuffer({ size, usage, label: this.plan.label })
    this.owned.push(buffer)
    return buffer
  }

  private nameOperands(): Record<string, OperandSpec> {
    const { inputs, outputs, storages } = this.plan
    const specs: Record<string, OperandSpec> = {}
    const name = (key: string, value: Value, storage: Storage, access: OperandSpec['access']): void => {
      this.nameOf.set(storage, key)
      specs[key] = { shape: value.shape, dtype: value.dtype, bytes: storage.bytes, access }
    }
    for (const [key, { value, slice }] of inputs) name(key, value, slice.storage, 'read')
    for (const s of storages) if (s.variable) name(s.variable.name, s.variable, s, 'read_write')
    for (const [key, { value, slice }] of outputs) name(key, value, slice.storage, 'write')
    return specs
  }

  private bindGroups(given: Readonly<Record<string, Operand>>): GPUBindGroup[] {
    const operands = this.check(given)
    const key = Object.values(operands)
      .map(({ buffer, offset }) => `${identityOf(buffer)}+${offset}`)
      .join()
    let groups = this.groups.get(key)
    if (!groups) {
      const locate = (slice: Slice): GPUBufferBinding => {
        const { storage, offset, bytes } = resolve(slice)
        const name = this.nameOf.get(storage)
        const place = name === undefined ? { buffer: this.bufferOf.get(storage)!, offset: 0 } : operands[name]
        return { buffer: place.buffer, offset: place.offset + offset, size: bytes }
      }
      groups = this.plan.dispatches.map((dispatch, i) => {
        const params = { buffer: this.params, offset: this.paramsOffsets[i] }
        return this.device.createBindGroup({
          layout: this.state.pipelines.layout(dispatch.kernel),
          entries: bindGroupEntries(this.state.library, dispatch, params, locate),
        })
      })
      if (this.groups.size >= KEPT_SETS) this.groups.delete(this.groups.keys().next().value!)
      this.groups.set(key, groups)
    }
    return groups
  }

  /** The operands in the order of `this.operands`, each with an offset. */
  private check(given: Readonly<Record<string, Operand>>): Record<string, { buffer: GPUBuffer; offset: number }> {
    const { label } = this.plan
    const operands: Record<string, { buffer: GPUBuffer; offset: number }> = {}
    const use = new Map<GPUBuffer, { name: string; writes: boolean }>()
    for (const [name, { shape, bytes, access }] of Object.entries(this.operands)) {
      const operand = given[name]
      if (!operand) throw new Error(`${label}: buffer '${name}' [${shape.join(', ')}] is not given`)
      const { buffer, offset = 0 } = 'buffer' in operand ? operand : { buffer: operand }
      if (buffer.size - offset < bytes)
        throw new Error(
          `${label}: buffer '${name}' [${shape.join(', ')}] needs ${bytes} bytes (whole vec4s), ` +
            `but has ${buffer.size - offset} from offset ${offset}`,
        )
      if (offset % 256) throw new Error(`${label}: offset ${offset} of buffer '${name}' is not a multiple of 256`)
      const writes = access !== 'read'
      const other = use.get(buffer)
      if (other && other.writes !== writes)
        throw new Error(
          `${label}: '${name}' and '${other.name}' share a buffer, but one is read and the other is written: use two buffers`,
        )
      use.set(buffer, { name, writes })
      operands[name] = { buffer, offset }
    }
    for (const name of Object.keys(given))
      if (!(name in this.operands))
        throw new Error(`${label}: has no buffer '${name}'; it takes ${Object.keys(this.operands).join(', ')}`)
    return operands
  }
}

const identities = new WeakMap<GPUBuffer, number>()
let nextIdentity = 0

function identityOf(buffer: GPUBuffer): number {
  let identity = identities.get(buffer)
  if (identity === undefined) identities.set(buffer, (identity = nextIdentity++))
  return identity
}
