/** The engine: one device with its pipelines, the buffers of Variables, read-back, and failures as one-line errors. */
import { COPY_BYTES, READ_BACK_USAGE, STORAGE_USAGE, upload } from './bindings.js'
import { KernelLibrary } from './kernel.js'
import { kernelTexts } from './kernel_texts.js'
import { lower } from './lower.js'
import { PipelineCache } from './pipelines.js'
import type { Plan, ProgramSpec, Target, Tunable, VariantTable } from './plan.js'
import { Program, type BuildProgress } from './program.js'
import { drawnInitialOf, initialOf, type TypedArray, type Variable } from './leaves.js'
import { Submissions } from './submissions.js'
import { adapterName, targetOf } from './target.js'
import type { DType } from './value.js'

export class EngineError extends Error {
  override name = 'EngineError'
}

/** The device has no memory left for a buffer. */
export class OutOfMemoryError extends EngineError {
  override name = 'OutOfMemoryError'
}

/** How many objects the engine has made so far. Replaying a program makes none. */
export interface Counters {
  buffers: number
  bindGroups: number
  pipelines: number
}

/** A device, and the `info` of its adapter. */
export interface OpenedDevice {
  readonly device: GPUDevice
  readonly info: GPUAdapterInfo
}

/** The most milliseconds between the first sign of a lost device and its report. */
const LOSS_REPORT_MS = 500

/** What belongs to one device, and ends with it. */
interface Held {
  readonly device: GPUDevice
  readonly pipelines: PipelineCache
  readonly submissions: Submissions
  readonly variables: Map<unknown, GPUBuffer>
  readonly staging: GPUBuffer[]
  failure?: EngineError
  lost?: true
}

export class Engine {
  readonly library: KernelLibrary
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
  /** With an observer: every `Program.run` is left to it. */
  observer?: (program: Program, inputs: Readonly<Record<string, TypedArray>>) => Promise<void>
  /** Opens another device on the same adapter, for `renew`; `openEngine` sets it. */
  reopen?: () => Promise<OpenedDevice>
  /** One object, so that engines that inherit from this one are renewed with it. */
  private readonly held: { current: Held }
  private readonly made = { buffers: 0, bindGroups: 0, pipelines: 0 }
  private closed = false
  private building: Promise<void> = Promise.resolve()

  /**
   * @param device any GPUDevice; `close` destroys it
   * @param info the adapter's `info`
   * @param shaderTexts the kernels' texts by file name without `.wgsl`; to add kernels of your own, pass
   *   `{ ...kernelTexts, my_op: text }`
   */
  constructor(
    device: GPUDevice,
    readonly info: GPUAdapterInfo,
    shaderTexts: Readonly<Record<string, string>> = kernelTexts,
  ) {
    this.library = new KernelLibrary(shaderTexts)
    this.description = adapterName(info)
    this.target = targetOf(device, info)
    this.held = { current: this.hold(device) }
  }

  private hold(device: GPUDevice): Held {
    const held: Held = {
      device,
      pipelines: new PipelineCache(device, this.library),
      submissions: new Submissions(device, (done) => this.waitFor(done)),
      variables: new Map(),
      staging: [],
    }
    const fail = (message: string, Kind = EngineError): void => {
      held.failure ??= new Kind(`GPU error on ${this.description}: ${oneLine(message)}`)
    }
    device.addEventListener('uncapturederror', (event) => {
      const { error } = event as GPUUncapturedErrorEvent
      // By its name: where there are several implementations, their classes differ.
      if (error.constructor.name === 'GPUOutOfMemoryError') fail(`${NO_MEMORY}: ${error.message}`, OutOfMemoryError)
      else fail(error.message)
    })
    void device.lost.then(({ message, reason }) => {
      if (this.closed) return
      held.lost = true
      fail(`the device was lost (${reason}): ${message}`)
    })
    return held
  }

  get device(): GPUDevice {
    return this.held.current.device
  }

  get pipelines(): PipelineCache {
    return this.held.current.pipelines
  }

  get submissions(): Submissions {
    return this.held.current.submissions
  }

  get counters(): Counters {
    return { ...this.made, pipelines: this.made.pipelines + this.pipelines.count }
  }

  /** Whether the device was lost. Work fails a little before the loss is reported, so it waits for the report. */
  async wasLost(): Promise<boolean> {
    const { current } = this.held
    let timer: ReturnType<typeof setTimeout> | undefined
    const patience = new Promise((resolve) => (timer = setTimeout(resolve, LOSS_REPORT_MS)))
    await Promise.race([current.device.lost, patience])
    clearTimeout(timer)
    return current.lost === true
  }

  /**
   * Takes another device from `reopen` in place of a lost one. Programs must be compiled again. Variables begin with
   * their initial values.
   *
   * @throws EngineError in one line if there is no other device, or if it is another kind of adapter
   */
  async renew(): Promise<void> {
    if (!this.reopen) throw new EngineError('the engine cannot open another device: give it `reopen`')
    const { device, info } = await this.reopen()
    if (JSON.stringify(targetOf(device, info)) !== JSON.stringify(this.target)) {
      device.destroy()
      throw new EngineError(`${this.description} is gone; another adapter answers: ${adapterName(info)}`)
    }
    this.made.pipelines += this.pipelines.count
    this.held.current = this.hold(device)
  }

  /** Wraps every wait for the device. A platform may replace it, to let its thread sleep meanwhile. */
  waitFor: <T>(done: Promise<T>) => Promise<T> = (done) => done

  /** Throws the first failure that the device has reported, if any. */
  check(): void {
    const { failure } = this.held.current
    if (failure) throw failure
    if (this.closed) throw new EngineError('the engine is closed')
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
    let noMemory = false
    for (const filter of [...filters].reverse()) {
      const error = await this.waitFor(this.device.popErrorScope())
      if (!error) continue
      noMemory ||= filter === 'out-of-memory'
      errors.push(filter === 'out-of-memory' ? `${NO_MEMORY}: ${error.message}` : error.message)
    }
    if (errors.length) throw new (noMemory ? OutOfMemoryError : EngineError)(`${what}: ${oneLine(errors.join('; '))}`)
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
   * @param onProgress called before the first distinct pipeline is built, and when each is ready; then while the initial
   *   values of Variables are drawn
   * @throws EngineError in one line if the device refuses, memory is short or a kernel does not compile
   */
  async compile(spec: ProgramSpec, onProgress?: BuildProgress): Promise<Program> {
    return (await this.compileTogether([spec], onProgress))[0]
  }

  /**
   * As `compile`, for several programs that share the memory of their temporaries: the programs need as much as the
   * largest of them, not the sum. Each program keeps its own inputs and outputs, so they may run in any order.
   */
  async compileTogether(specs: readonly ProgramSpec[], onProgress?: BuildProgress): Promise<Program[]> {
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
    return (
      this.held.current.variables.get(ownerOf(variable)) ??
      this.makeBuffer(variable, membersOf(variable).map(initialOf))
    )
  }

  /** Numbers whose initial values `filledBufferOf` draws for this Variable: 0 if its buffer is made already. */
  undrawn(variable: Variable): number {
    if (this.held.current.variables.has(ownerOf(variable))) return 0
    return membersOf(variable).reduce((sum, { size }) => sum + size, 0)
  }

  /**
   * As `bufferOf`, but the event loop turns while the initial values are drawn, which takes a second for large networks.
   *
   * @param onDrawn told how many numbers are drawn
   */
  async filledBufferOf(variable: Variable, onDrawn?: (count: number) => void): Promise<GPUBuffer> {
    const values: TypedArray[] = []
    let before = 0
    if (!this.held.current.variables.has(ownerOf(variable)))
      for (const member of membersOf(variable)) {
        values.push(await drawnInitialOf(member, (count) => onDrawn?.(before + count)))
        before += member.size
        if (member.size > DRAWN_AT_ONCE) await new Promise((resolve) => setTimeout(resolve, 0))
      }
    // Other work may have made the buffer meanwhile.
    return this.held.current.variables.get(ownerOf(variable)) ?? this.makeBuffer(variable, values)
  }

  private makeBuffer(variable: Variable, values: readonly TypedArray[]): GPUBuffer {
    const bytes = variable.arena?.arena.bytes ?? Math.max(16, Math.ceil(variable.bytes / 16) * 16)
    const buffer = this.createBuffer(bytes, STORAGE_USAGE, variable.name)
    this.held.current.variables.set(ownerOf(variable), buffer)
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
    this.held.current.variables.get(owner)?.destroy()
    this.held.current.variables.delete(owner)
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
      parts.push(
        this.readLoad(
          [{ buffer, offset: offset + at, bytes: Math.min(copyBytes, bytes - at) }],
          target.subarray(at, Math.min(bytes, at + copyBytes)),
        ),
      )
    await Promise.all(parts)
    this.check()
    return data
  }

  /** @param turn 'inTurn': the caller is in the turn of a run */
  private async readLoad(
    load: readonly { buffer: GPUBuffer; offset: number; bytes: number }[],
    target: Uint8Array,
    turn?: 'inTurn',
  ): Promise<void> {
    const bytes = target.length
    const { staging: stagings } = this.held.current
    const k = stagings.findIndex((b) => b.size >= bytes && b.size <= 4 * bytes + 4096)
    const staging =
      k >= 0 ? stagings.splice(k, 1)[0] : this.createBuffer(Math.max(256, bytes), READ_BACK_USAGE, 'read-back')
    const copyNow = (): void => {
      const encoder = this.device.createCommandEncoder()
      let at = 0
      for (const part of load) {
        encoder.copyBufferToBuffer(part.buffer, part.offset, staging, at, part.bytes)
        at += part.bytes
      }
      this.device.queue.submit([encoder.finish()])
    }
    // A copy between two pieces of a run would read some values from before it and some from after it.
    if (this.submissions.busy && !turn) await this.submissions.inTurn(copyNow)
    else copyNow()
    try {
      await this.waitFor(staging.mapAsync(0x01, 0, bytes))
    } catch (error) {
      this.check()
      throw new EngineError(`read-back failed: ${oneLine((error as Error).message)}`)
    }
    target.set(new Uint8Array(staging.getMappedRange(0, bytes)))
    staging.unmap()
    stagings.push(staging)
  }

  /**
   * Reads ranges of buffers one after another, from the middle of a run: what has been submitted so far decides what they
   * hold.
   *
   * @param ranges offsets and sizes in bytes, multiples of 4
   */
  async readTogether(
    ranges: readonly { buffer: GPUBuffer; offset: number; bytes: number }[],
  ): Promise<Float32Array<ArrayBuffer>> {
    const data = new Float32Array(ranges.reduce((sum, { bytes }) => sum + bytes, 0) / 4)
    const target = new Uint8Array(data.buffer)
    const loads: { buffer: GPUBuffer; offset: number; bytes: number }[][] = [[]]
    let held = 0
    for (const range of ranges)
      for (let done = 0; done < range.bytes;) {
        const bytes = Math.min(range.bytes - done, this.copyBytes - held)
        loads[loads.length - 1].push({ buffer: range.buffer, offset: range.offset + done, bytes })
        done += bytes
        held += bytes
        if (held === this.copyBytes) {
          loads.push([])
          held = 0
        }
      }
    let at = 0
    const readings = loads.map((load) => {
      const bytes = load.reduce((sum, part) => sum + part.bytes, 0)
      const reading = bytes > 0 ? this.readLoad(load, target.subarray(at, at + bytes), 'inTurn') : undefined
      at += bytes
      return reading
    })
    await Promise.all(readings)
    return data
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
const NO_MEMORY = 'out of device memory'

const oneLine = (message: string): string => message.replace(/\s+/g, ' ').trim()
