/** The engine: one device with its pipelines, the buffers of Variables, read-back, and failures as one-line errors. */
import { COPY_BYTES, READ_BACK_USAGE, STORAGE_USAGE, upload } from './bindings.js'
import { KernelLibrary } from './kernel.js'
import { kernelTexts } from './kernel_texts.js'
import { lower } from './lower.js'
import { PipelineCache } from './pipelines.js'
import type { Plan, ProgramSpec, Target, Tunable, VariantTable } from './plan.js'
import { Program } from './program.js'
import { type TypedArray, type Variable } from './leaves.js'
import { Submissions } from './submissions.js'
import { targetOf } from './target.js'
import type { DType } from './value.js'

export class EngineError extends Error {
  override name = 'EngineError'
}

/** How many objects the engine has made so far. Replaying a program makes none. */
export interface Counters {
  buffers: number
  bindGroups: number
  pipelines: number
}

export class Engine {
  readonly library: KernelLibrary
  readonly pipelines: PipelineCache
  readonly target: Target
  readonly description: string
  /** The variant of each product. For products not listed here the cost model decides. */
  variants: VariantTable = new Map()
  /**
   * Called before a graph is recorded, for the tunables that `variants` does not list. Without it nothing is measured.
   */
  tuner?: (tunables: readonly Tunable[]) => Promise<VariantTable>
  /** Most bytes of one copy between memory and the device, a multiple of 4. Larger arrays are copied in pieces. */
  copyBytes = COPY_BYTES
  /** The longest that one submission of a program should take, in seconds. Longer programs are submitted in pieces. */
  piece = 0.1
  readonly submissions: Submissions
  private readonly variables = new Map<unknown, GPUBuffer>()
  private readonly staging: GPUBuffer[] = []
  private readonly made = { buffers: 0, bindGroups: 0 }
  private failure: EngineError | undefined
  private closed = false
  private building: Promise<void> = Promise.resolve()

  /**
   * @param device any GPUDevice; `close` destroys it
   * @param info the adapter's `info`
   * @param shaderTexts the kernels' texts by file name without `.wgsl`; to add kernels of your own, pass
   *   `{ ...kernelTexts, my_op: text }`
   */
  constructor(
    readonly device: GPUDevice,
    readonly info: GPUAdapterInfo,
    shaderTexts: Readonly<Record<string, string>> = kernelTexts,
  ) {
    this.library = new KernelLibrary(shaderTexts)
    this.pipelines = new PipelineCache(device, this.library)
    this.description = info.description || info.device || info.vendor || 'unnamed adapter'
    this.target = targetOf(device, info)
    this.submissions = new Submissions(device, (done) => this.waitFor(done))
    device.addEventListener('uncapturederror', (event) => this.fail((event as GPUUncapturedErrorEvent).error.message))
    void device.lost.then(({ message, reason }) => {
      if (!this.closed) this.fail(`the device was lost (${reason}): ${message}`)
    })
  }

  get counters(): Counters {
    return { ...this.made, pipelines: this.pipelines.count }
  }

  /** Wraps every wait for the device. A platform may replace it, to let its thread sleep meanwhile. */
  waitFor: <T>(done: Promise<T>) => Promise<T> = (done) => done

  /** Throws the first failure that the device has reported, if any. */
  check(): void {
    if (this.failure) throw this.failure
    if (this.closed) throw new EngineError('the engine is closed')
  }

  private fail(message: string): void {
    this.failure ??= new EngineError(`GPU error on ${this.description}: ${oneLine(message)}`)
  }

  /** Runs `work` inside error scopes: errors of the device while building become one EngineError. */
  async guarded<T>(what: string, work: () => Promise<T>): Promise<T> {
    // A device has one stack of error scopes: two programs built at once would pop each other's scopes.
    const before = this.building
    let done!: () => void
    this.building = new Promise((resolve) => (done = resolve))
    await before
    try {
      return await this.scoped(what, work)
    } finally {
      done()
    }
  }

  private async scoped<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.check()
    const filters = ['validation', 'out-of-memory', 'internal'] as const
    for (const filter of filters) this.device.pushErrorScope(filter)
    let result: T | undefined
    let thrown: unknown
    try {
      result = await this.waitFor(work())
    } catch (error) {
      thrown = error
    }
    const errors = []
    for (const filter of [...filters].reverse()) {
      const error = await this.waitFor(this.device.popErrorScope())
      if (error) errors.push(filter === 'out-of-memory' ? `out of device memory: ${error.message}` : error.message)
    }
    if (errors.length) throw new EngineError(`${what}: ${oneLine(errors.join('; '))}`)
    if (thrown) throw thrown instanceof Error ? new EngineError(`${what}: ${oneLine(thrown.message)}`) : thrown
    return result as T
  }

  /** Lowers a graph without building it: gives its dispatches, storages and peak bytes. */
  plan(spec: ProgramSpec): Plan {
    return lower(spec, this)
  }

  /**
   * Records a graph as a Program: chooses variants, plans memory, builds pipelines and bind groups.
   *
   * @param onProgress called when each distinct pipeline is ready
   * @throws EngineError in one line if the device refuses, memory is short or a kernel does not compile
   */
  async compile(spec: ProgramSpec, onProgress?: (done: number, total: number) => void): Promise<Program> {
    return (await this.compileTogether([spec], onProgress))[0]
  }

  /**
   * As `compile`, for several programs that share the memory of their temporaries: the programs need as much as the
   * largest of them, not the sum. Each program keeps its own inputs and outputs, so they may run in any order.
   */
  async compileTogether(
    specs: readonly ProgramSpec[],
    onProgress?: (done: number, total: number) => void,
  ): Promise<Program[]> {
    this.check()
    let plans = specs.map((spec) => this.plan(spec))
    if (this.tuner) {
      const open = new Map(
        plans.flatMap(({ tunables }) => [...tunables].filter(([key, { chosen }]) => this.variants.get(key) !== chosen)),
      )
      if (open.size) this.variants = new Map([...this.variants, ...(await this.tuner([...open.values()]))])
      plans = specs.map((spec) => this.plan(spec))
    }
    return Program.build(this, plans, onProgress)
  }

  createBuffer(size: number, usage: number, label: string): GPUBuffer {
    this.made.buffers++
    return this.device.createBuffer({ size, usage, label })
  }

  createBindGroup(descriptor: GPUBindGroupDescriptor): GPUBindGroup {
    this.made.bindGroups++
    return this.device.createBindGroup(descriptor)
  }

  /** The buffer of a Variable, or of its whole arena. It is made on first use, and filled with the initial values. */
  bufferOf(variable: Variable): GPUBuffer {
    return this.variables.get(ownerOf(variable)) ?? this.makeBuffer(variable, membersOf(variable).map(initialOf))
  }

  /** As `bufferOf`, but the event loop turns while the initial values are drawn, which takes a second for large networks. */
  async filledBufferOf(variable: Variable): Promise<GPUBuffer> {
    const values: TypedArray[] = []
    if (!this.variables.has(ownerOf(variable)))
      for (const member of membersOf(variable)) {
        values.push(initialOf(member))
        if (member.size > DRAWN_AT_ONCE) await new Promise((resolve) => setTimeout(resolve, 0))
      }
    // Other work may have made the buffer meanwhile.
    return this.variables.get(ownerOf(variable)) ?? this.makeBuffer(variable, values)
  }

  private makeBuffer(variable: Variable, values: readonly TypedArray[]): GPUBuffer {
    const bytes = variable.arena?.arena.bytes ?? Math.max(16, Math.ceil(variable.bytes / 16) * 16)
    const buffer = this.createBuffer(bytes, STORAGE_USAGE, variable.name)
    this.variables.set(ownerOf(variable), buffer)
    membersOf(variable).forEach((member, i) => this.write(member, values[i]))
    return buffer
  }

  /** Sets a Variable from an array of exactly its size. */
  write(variable: Variable, data: TypedArray): void {
    if (data.length !== variable.size)
      throw new EngineError(`variable '${variable.name}' has ${variable.size} numbers, not ${data.length}`)
    upload(this.device, this.bufferOf(variable), variable.arena?.offset ?? 0, data, this.copyBytes)
  }

  /** Reads a Variable's current value. */
  async read(variable: Variable): Promise<Float32Array> {
    return this.readBuffer(
      this.bufferOf(variable),
      variable.arena?.offset ?? 0,
      variable.bytes,
      variable.dtype as 'f32',
    )
  }

  /** Frees a Variable's buffer, or its arena's. The next use starts from the initial values. */
  release(variable: Variable): void {
    const owner = ownerOf(variable)
    this.variables.get(owner)?.destroy()
    this.variables.delete(owner)
  }

  /** Reads a range of a buffer through a reused staging buffer: u32 as Uint32Array, the rest as Float32Array. */
  readBuffer(buffer: GPUBuffer, offset: number, bytes: number, dtype: 'u32'): Promise<Uint32Array>
  readBuffer(buffer: GPUBuffer, offset: number, bytes: number, dtype: 'f32'): Promise<Float32Array>
  async readBuffer(buffer: GPUBuffer, offset: number, bytes: number, dtype: DType): Promise<TypedArray> {
    this.check()
    const { copyBytes } = this
    const data = new (dtype === 'u32' ? Uint32Array : Float32Array)(bytes / 4)
    const target = new Uint8Array(data.buffer)
    // All parts are copied before the first is awaited: runs that are submitted later do not change them.
    const parts = []
    for (let at = 0; at < bytes; at += copyBytes)
      parts.push(this.readPart(buffer, offset + at, target.subarray(at, Math.min(bytes, at + copyBytes))))
    await Promise.all(parts)
    this.check()
    return data
  }

  private async readPart(buffer: GPUBuffer, offset: number, target: Uint8Array): Promise<void> {
    const bytes = target.length
    const k = this.staging.findIndex((b) => b.size >= bytes && b.size <= 4 * bytes + 4096)
    const staging =
      k >= 0 ? this.staging.splice(k, 1)[0] : this.createBuffer(Math.max(256, bytes), READ_BACK_USAGE, 'read-back')
    const copyNow = (): void => {
      const encoder = this.device.createCommandEncoder()
      encoder.copyBufferToBuffer(buffer, offset, staging, 0, bytes)
      this.device.queue.submit([encoder.finish()])
    }
    // A copy between two pieces of a run would read some values from before it and some from after it.
    if (this.submissions.busy) await this.submissions.inTurn(copyNow)
    else copyNow()
    try {
      await this.waitFor(staging.mapAsync(0x01, 0, bytes))
    } catch (error) {
      this.check()
      throw new EngineError(`read-back failed: ${oneLine((error as Error).message)}`)
    }
    target.set(new Uint8Array(staging.getMappedRange(0, bytes)))
    staging.unmap()
    this.staging.push(staging)
  }

  /** Waits until all submitted work is done. */
  async idle(): Promise<void> {
    await this.waitFor(this.device.queue.onSubmittedWorkDone())
    this.check()
  }

  /** Destroys the device, and with it everything that the engine made. */
  close(): void {
    this.closed = true
    this.device.destroy()
  }
}

/** Initial values up to this number are drawn without a pause. */
const DRAWN_AT_ONCE = 1 << 16

/** What has a buffer of its own: an arena, or a Variable outside arenas. */
const ownerOf = (variable: Variable): unknown => variable.arena?.arena ?? variable
const membersOf = (variable: Variable): readonly Variable[] => variable.arena?.arena.variables ?? [variable]
const initialOf = ({ initial }: Variable): TypedArray => (typeof initial === 'function' ? initial() : initial)

const oneLine = (message: string): string => message.replace(/\s+/g, ' ').trim()
