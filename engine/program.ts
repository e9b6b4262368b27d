/** Programs: a plan on a device. Pipelines, buffers and bind groups are made once, and each run replays them. */
import { bindGroupEntries, layOutParams, STORAGE_USAGE, UNIFORM_USAGE, upload } from './bindings.js'
import type { Engine } from './engine.js'
import { slicesByBuffer } from './large_storages.js'
import { part, resolve, type Plan, type Slice, type Storage } from './plan.js'
import { HostSteps } from './host_steps.js'
import { sharedPool } from './memory.js'
import { Pieces, type Piece } from './pieces.js'
import { type TypedArray, type Variable } from './leaves.js'
import { show } from './value.js'

interface Recorded {
  readonly pipeline: GPUComputePipeline
  readonly bindGroup: GPUBindGroup
  readonly workgroups: readonly [number, number, number]
}

/** Progress of building programs: pipelines that are ready, or numbers of initial values that are drawn. */
export type BuildProgress = (done: number, total: number, of: 'kernels' | 'initial values') => void

/**
 * The buffers of temporaries, which several programs may share: the submissions of a run have no other run between
 * them, and no run reads what another left there. Each buffer is made on first use. All are freed with the last program.
 */
class Pool {
  private readonly buffers: (GPUBuffer | undefined)[] = []
  private users = 0

  constructor(
    private readonly engine: Engine,
    private readonly sizes: readonly number[],
    private readonly label: string,
  ) {}

  enter(): this {
    this.users++
    return this
  }

  at(i: number): GPUBuffer {
    return (this.buffers[i] ??= this.engine.createBuffer(this.sizes[i], STORAGE_USAGE, `${this.label}: pool ${i}`))
  }

  leave(): void {
    if (--this.users > 0) return
    for (const buffer of this.buffers) buffer?.destroy()
    this.buffers.length = 0
  }
}

export class Program {
  private readonly owned: GPUBuffer[] = []
  private readonly buffers = new Map<Storage, GPUBuffer>()
  private recorded: Recorded[] = []
  private pool: Pool | undefined
  private readonly pieces: Pieces
  private readonly device: GPUDevice
  private readonly ends: ReadonlySet<number>

  private constructor(
    readonly engine: Engine,
    readonly plan: Plan,
    pool: Pool,
  ) {
    this.pool = pool.enter()
    this.device = engine.device
    this.pieces = new Pieces(plan.dispatches, engine.target)
    this.ends = new Set(plan.host.map(({ at }) => at))
  }

  /** Bytes that the program needs beside its Variables. */
  get peakBytes(): number {
    return this.plan.memory.peakBytes
  }

  /** Dispatches in one run. */
  get dispatches(): number {
    return this.plan.dispatches.length
  }

  /** Builds programs that share one pool. */
  static async build(engine: Engine, plans: readonly Plan[], onProgress?: BuildProgress): Promise<Program[]> {
    const label = plans.map((plan) => plan.label).join(', ')
    for (const plan of plans)
      for (const [name, { value }] of plan.outputs)
        if (value.dtype === 'f16') throw new Error(`${plan.label}: output '${name}' is f16: cast it to f32`)
    const pool = new Pool(engine, sharedPool(plans), label)
    const programs = plans.map((plan) => new Program(engine, plan, pool))
    try {
      await engine.guarded(label, () => compilePipelines(engine, plans, onProgress))
      const onDrawn = onProgress && drawingProgress(engine, plans, onProgress)
      for (const program of programs) await engine.guarded(program.plan.label, () => program.record(onDrawn))
    } catch (error) {
      for (const program of programs) program.destroy()
      throw error
    }
    return programs
  }

  private async record(onDrawn?: (owner: Variable, count: number) => void): Promise<void> {
    const { plan, engine } = this
    const pipelines = await Promise.all(plan.dispatches.map((d) => engine.pipelines.pipeline(d.kernel, d.constants)))
    const make = (bytes: number, label: string, usage = STORAGE_USAGE): GPUBuffer => {
      const buffer = engine.createBuffer(bytes, usage, `${plan.label}: ${label}`)
      this.owned.push(buffer)
      return buffer
    }
    for (const storage of plan.storages) {
      const k = plan.memory.slot.get(storage)
      if (k !== undefined) this.buffers.set(storage, this.pool!.at(k))
      else if (storage.kind === 'variable') {
        const { variable } = storage
        const buffer = await engine.filledBufferOf(variable!, (count) => onDrawn?.(variable!, count))
        this.buffers.set(storage, buffer)
      } else if (storage.kind !== 'temporary') {
        const buffer = make(storage.bytes, storage.label)
        if (storage.data) upload(engine.device, buffer, 0, storage.data, engine.copyBytes)
        this.buffers.set(storage, buffer)
      }
    }

    const { words, offsets } = layOutParams(plan.dispatches)
    const params = make(words.byteLength, 'params', UNIFORM_USAGE)
    upload(engine.device, params, 0, words)

    this.recorded = plan.dispatches.map((d, i) => ({
      pipeline: pipelines[i],
      bindGroup: engine.createBindGroup({
        label: `${d.op} (${d.kernel})`,
        layout: engine.pipelines.layout(d.kernel),
        entries: bindGroupEntries(engine.library, d, { buffer: params, offset: offsets[i] }, (s) => this.locate(s)),
      }),
      workgroups: d.workgroups,
    }))
  }

  /** Where a slice of the plan lies on the device. */
  locate(slice: Slice): GPUBufferBinding & { buffer: GPUBuffer; offset: number; size: number } {
    const { storage, offset, bytes } = resolve(slice)
    return { buffer: this.buffers.get(storage)!, offset, size: bytes }
  }

  /**
   * Replays the program, and returns when all of it is submitted. A program that takes longer than `Engine.piece` is
   * submitted in pieces. If two submissions are in flight already, the next one waits, so that the queue neither runs
   * empty nor grows without limit. Other runs, and reads, wait for the last piece. Wait for it too before you write a
   * Variable. A program with exchanges also waits for what arrives from the host.
   *
   * @param inputs one array for each `input` of the graph, of exactly its size
   * @throws Error that names a missing, unknown or wrong input; EngineError if the device has failed
   */
  async run(inputs: Readonly<Record<string, TypedArray>> = {}): Promise<void> {
    this.checkInputs(inputs)
    const { observer } = this.engine
    if (observer) return observer(this, inputs)
    await this.engine.submissions.inTurn(async () => {
      const pieces = this.pieces.cut(this.engine.piece, this.ends)
      const host = this.plan.host.length ? new HostSteps(this.engine, this.plan.host, (s) => this.locate(s)) : undefined
      const times: Promise<number>[] = []
      for (const [k, piece] of pieces.entries()) {
        await this.engine.submissions.slot()
        this.engine.check()
        if (k === 0) this.writeInputs(inputs)
        await host?.before(piece.first)
        times.push(
          this.submit((encoder) => {
            const pass = encoder.beginComputePass({ label: this.plan.label })
            this.encode(pass, piece.first, piece.last)
            pass.end()
          }),
        )
      }
      await host?.before(Infinity)
      if (!host) this.learn(pieces, times)
    })
  }

  /** As `run` in one submission, but `record` encodes the commands. The profiler uses it to time each dispatch. */
  async replay(
    inputs: Readonly<Record<string, TypedArray>>,
    record: (encoder: GPUCommandEncoder) => void,
  ): Promise<void> {
    this.checkInputs(inputs)
    if (this.plan.host.length)
      throw new Error(`${this.plan.label}: has exchanges with the host: only \`run\` does them`)
    await this.engine.submissions.inTurn(async () => {
      await this.engine.submissions.slot()
      this.engine.check()
      this.writeInputs(inputs)
      void this.submit(record)
    })
  }

  private submit(record: (encoder: GPUCommandEncoder) => void): Promise<number> {
    const { engine, plan } = this
    const encoder = engine.device.createCommandEncoder({ label: plan.label })
    record(encoder)
    return engine.submissions.submit(encoder.finish())
  }

  /** Learns how long the pieces take when they are done. What fails on the device is reported by `Engine.check`. */
  private learn(pieces: readonly Piece[], times: readonly Promise<number>[]): void {
    Promise.all(times).then(
      (seconds) => this.pieces.learn(pieces, seconds),
      () => undefined,
    )
  }

  private checkInputs(inputs: Readonly<Record<string, TypedArray>>): void {
    const { engine, plan } = this
    engine.check()
    if (engine.device !== this.device)
      throw new Error(`${plan.label}: its device was lost: compile it again on the new one`)
    for (const [name, { value }] of plan.inputs) {
      const data = inputs[name]
      if (data === undefined) throw new Error(`${plan.label}: input '${name}' ${show(value.shape)} is not given`)
      if (data.length !== value.size || data instanceof Uint32Array !== (value.dtype === 'u32'))
        throw new Error(
          `${plan.label}: input '${name}' is ${show(value.shape)} ${value.dtype}, ${value.size} numbers; ` +
            `given ${data.length} in a ${data.constructor.name}`,
        )
    }
    for (const name of Object.keys(inputs))
      if (!plan.inputs.has(name)) throw new Error(`${plan.label}: has no input '${name}'`)
  }

  private writeInputs(inputs: Readonly<Record<string, TypedArray>>): void {
    for (const [name, { value, slice }] of this.plan.inputs) {
      let at = 0
      for (const one of slicesByBuffer(part(slice, 0, value.bytes))) {
        const { buffer, offset, size } = this.locate(one)
        const data = inputs[name].subarray(at / 4, (at += size) / 4)
        upload(this.engine.device, buffer, offset, data, this.engine.copyBytes)
      }
    }
  }

  /** Encodes the dispatches from index `first` up to but not including `last`; all of them by default. */
  encode(pass: GPUComputePassEncoder, first = 0, last = this.recorded.length): void {
    let pipeline: GPUComputePipeline | undefined
    for (const step of this.recorded.slice(first, last)) {
      if (step.pipeline !== pipeline) pass.setPipeline((pipeline = step.pipeline))
      pass.setBindGroup(0, step.bindGroup)
      pass.dispatchWorkgroups(...step.workgroups)
    }
  }

  /**
   * Reads an output of the latest submitted run, f32 as Float32Array and u32 as Uint32Array, without stalling the
   * queue.
   */
  async read(name: string): Promise<Float32Array> {
    const output = this.plan.outputs.get(name)
    if (!output)
      throw new Error(`${this.plan.label}: has no output '${name}'; it has ${[...this.plan.outputs.keys()].join(', ')}`)
    const { bytes, dtype } = output.value
    const places = slicesByBuffer(part(output.slice, 0, bytes)).map((slice) => this.locate(slice))
    // All parts are copied before the first is awaited.
    const parts = await Promise.all(
      places.map(({ buffer, offset, size }) => this.engine.readBuffer(buffer, offset, size, dtype as 'f32')),
    )
    return parts.length === 1 ? parts[0] : joined(parts)
  }

  /** Frees the program's own buffers, and the pool unless another program uses it. Variables stay. */
  destroy(): void {
    this.pool?.leave()
    this.pool = undefined
    for (const buffer of this.owned) buffer.destroy()
    this.owned.length = 0
    this.recorded = []
  }
}

/** Arrays of one type as one array. */
function joined(parts: readonly Float32Array[]): Float32Array {
  const Type = parts[0].constructor as Float32ArrayConstructor
  const all = new Type(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const one of parts) {
    all.set(one, at)
    at += one.length
  }
  return all
}

/** Adds up what is drawn for each Variable, or arena of Variables, of the plans. */
function drawingProgress(
  engine: Engine,
  plans: readonly Plan[],
  onProgress: BuildProgress,
): (owner: Variable, count: number) => void {
  const variables = plans.flatMap(({ storages }) => storages.flatMap(({ variable }) => variable ?? []))
  const owners = new Map(variables.map((v) => [v.arena?.arena ?? v, v]))
  const total = [...owners.values()].reduce((sum, v) => sum + engine.undrawn(v), 0)
  const drawn = new Map<unknown, number>()
  return (v, count) => {
    drawn.set(v.arena?.arena ?? v, count)
    onProgress(
      [...drawn.values()].reduce((a, b) => a + b, 0),
      total,
      'initial values',
    )
  }
}

/** Builds every distinct pipeline of the plans. */
async function compilePipelines(engine: Engine, plans: readonly Plan[], onProgress?: BuildProgress): Promise<void> {
  const building = plans.flatMap(({ dispatches }) =>
    dispatches.map((d) => engine.pipelines.pipeline(d.kernel, d.constants)),
  )
  const distinct = [...new Set(building)]
  let done = 0
  onProgress?.(done, distinct.length, 'kernels')
  for (const p of distinct)
    p.then(
      () => onProgress?.(++done, distinct.length, 'kernels'),
      () => undefined,
    )
  await Promise.all(building)
}
