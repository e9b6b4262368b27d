/**
 * Tuning: choosing variants by measurement. The cost model leaves one variant of each family for a product, and a second
 * one if its estimate is close to the lowest. The op is recorded once by each of them, on a part of its batch. A variant
 * whose result differs from the plain variant's is out, and the fastest of the others is kept.
 */
import type { Engine } from './engine.js'
import { variable, type Variable } from './leaves.js'
import { lower } from './lower.js'
import { cast } from './ops/cast.js'
import { square, subtract } from './ops/elementwise.js'
import { PLAIN } from './ops/products/work.js'
import { sum } from './ops/reduce.js'
import { variantKey, type ProgramSpec, type Tunable, type VariantTable } from './plan.js'
import { Program } from './program.js'
import { apply, sizeOf, type Value } from './value.js'

const ROUNDS = 3
/** The duration of one sample. It is long enough for the clock's resolution and the submission not to matter. */
const SAMPLE_MS = { cpu: 4, gpu: 2 }
const MOST_REPEATS = 1000
/** A GPU raises its clock when it has work: it works for this long before the first measurement. */
const WARM_UP_MS = { cpu: 0, gpu: 200 }
/** Operands are cut along their batch to about this many numbers. */
const PROBE_NUMBERS = { cpu: 2 ** 20, gpu: 2 ** 25 }
/**
 * The largest ‖y − plain‖ / ‖plain‖ of a correct variant. Winograd has about 1e-6 in f32. Results that are stored in f16,
 * or multiplied in it, have about 3e-4. One wrong number in a million makes about 1e-3.
 */
const LARGEST_ERROR = { f32: 1e-4, f16: 3e-3 }

export interface TuningOptions {
  onProgress?(done: number, total: number): void
  /** Called for each variant that is out, with the reason. */
  onRefused?(tunable: Tunable, variant: string, reason: string): void
}

/**
 * Checks and measures the variants of each tunable.
 *
 * @returns the name of the fastest variant of each tunable that agrees with the plain one, by `variantKey`
 */
export async function measureVariants(
  engine: Engine,
  tunables: readonly Tunable[],
  options: TuningOptions = {},
): Promise<VariantTable> {
  const table = new Map<string, string>()
  for (const [i, tunable] of tunables.entries()) {
    table.set(variantKey(tunable.node), await fastest(engine, tunable, i === 0, options))
    options.onProgress?.(i + 1, tunables.length)
  }
  return table
}

/** A variant that agrees with the plain one. The dispatches of the product are from `first` up to `last`. */
interface Candidate {
  readonly name: string
  readonly program: Program
  readonly first: number
  readonly last: number
  readonly times: number[]
}

async function fastest(engine: Engine, tunable: Tunable, cold: boolean, options: TuningOptions): Promise<string> {
  const probe = new Probe(engine, tunable)
  const clock = Clock.of(engine)
  const candidates: Candidate[] = []
  try {
    // The plain variant comes first, because the others are compared with it.
    const names = [...tunable.variants].sort((a, b) => Number(b === PLAIN) - Number(a === PLAIN))
    for (const name of names) {
      try {
        candidates.push(await probe.candidate(name))
      } catch (error) {
        options.onRefused?.(tunable, name, (error as Error).message)
      }
    }
    const { adapterClass } = engine.target
    const repeats = candidates.map(() => 1)
    for (const [i, candidate] of candidates.entries()) {
      const began = performance.now()
      let milliseconds: number
      do milliseconds = await clock.time(candidate, 1)
      while (cold && i === 0 && performance.now() - began < WARM_UP_MS[adapterClass])
      repeats[i] = Math.max(1, Math.min(MOST_REPEATS, Math.ceil(SAMPLE_MS[adapterClass] / milliseconds)))
    }
    for (let round = 0; round < ROUNDS; round++)
      for (const [i, candidate] of candidates.entries()) candidate.times.push(await clock.time(candidate, repeats[i]))
    const [best] = candidates.sort((a, b) => median(a.times) - median(b.times))
    return best?.name ?? names[0]
  } finally {
    clock.destroy()
    for (const { program } of candidates) program.destroy()
    probe.release()
  }
}

/** An op on hashed operands, and its result by the plain variant. */
class Probe {
  private readonly operands: Variable[]
  private expected: Variable | undefined

  constructor(
    private readonly engine: Engine,
    private readonly tunable: Tunable,
  ) {
    this.operands = probeOperands(engine, tunable)
  }

  /**
   * A program of the variant. The first one keeps its result, and the result of each further one is compared with it.
   *
   * @throws Error if the device refuses the variant, or if the result differs
   */
  async candidate(name: string): Promise<Candidate> {
    const { engine, operands } = this
    const { op, inputs, attributes } = this.tunable.node
    const given = operands.map((v, i) => (inputs[i].dtype === 'f16' ? cast(v, 'f16') : v))
    const [result] = apply(op, given, attributes)
    const y = result.dtype === 'f16' ? cast(result, 'f32') : result
    const label = `measuring ${op.name} ${name}`
    const expected = this.expected ?? variable('expected', y.shape, () => new Float32Array(y.size))
    const spec: ProgramSpec = this.expected
      ? { label, outputs: { error: sum(square(subtract(y, expected))), norm: sum(square(expected)) } }
      : { label, updates: [{ variable: expected, value: y }], outputs: { norm: sum(square(y)) } }
    const { target, library } = engine
    const [program] = await Program.build(engine, [lower(spec, { target, library, variants: { get: () => name } })])
    try {
      await program.run()
      if (this.expected)
        await this.check(program, result.dtype === 'f16' || inputs.some(({ dtype }) => dtype === 'f16'))
      this.expected = expected
      const own = program.plan.dispatches.flatMap(({ node }, i) => (node === result.node ? [i] : []))
      return { name, program, first: own[0], last: own[own.length - 1] + 1, times: [] }
    } catch (error) {
      program.destroy()
      throw error
    }
  }

  private async check(program: Program, f16: boolean): Promise<void> {
    const [[error], [norm]] = await Promise.all([program.read('error'), program.read('norm')])
    const relative = Math.sqrt(error / norm)
    if (!(relative <= LARGEST_ERROR[f16 ? 'f16' : 'f32']))
      throw new Error(`its result differs from the plain variant's by ${relative.toExponential(1)} of its norm`)
  }

  release(): void {
    for (const held of [...this.operands, this.expected]) if (held) this.engine.release(held)
  }
}

/** Times repeated dispatches in one pass: by the device's clock if it has one, else by the time of the submission. */
class Clock {
  private constructor(
    private readonly engine: Engine,
    private readonly queries?: { set: GPUQuerySet; resolved: GPUBuffer },
  ) {}

  static of(engine: Engine): Clock {
    const { device, target } = engine
    if (target.adapterClass === 'cpu' || !device.features.has('timestamp-query')) return new Clock(engine)
    const set = device.createQuerySet({ type: 'timestamp', count: 2 })
    return new Clock(engine, { set, resolved: engine.createBuffer(16, QUERY_RESOLVE | COPY_SRC, 'timestamps') })
  }

  /** Milliseconds of one run of the candidate's own dispatches, the average of `repeats`. */
  async time({ program, first, last }: Candidate, repeats: number): Promise<number> {
    const { engine, queries } = this
    await engine.idle()
    const began = performance.now()
    await program.replay({}, (encoder) => {
      const pass = encoder.beginComputePass(
        queries && {
          timestampWrites: { querySet: queries.set, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 },
        },
      )
      for (let i = 0; i < repeats; i++) program.encode(pass, first, last)
      pass.end()
      if (queries) encoder.resolveQuerySet(queries.set, 0, 2, queries.resolved, 0)
    })
    await engine.idle()
    const wall = performance.now() - began
    if (!queries) return wall / repeats
    const words = await engine.readBuffer(queries.resolved, 0, 16, 'u32')
    const [begin, end] = new BigUint64Array(words.buffer, words.byteOffset, 2)
    const measured = Number(BigInt.asIntN(64, end - begin)) / 1e6
    // A clock that does not run gives 0, and one that is reset gives anything.
    return (measured > 0 && measured <= wall ? measured : wall) / repeats
  }

  destroy(): void {
    this.queries?.set.destroy()
    this.queries?.resolved.destroy()
  }
}

const QUERY_RESOLVE = 0x200
const COPY_SRC = 0x04

/** Variables that replace the op's inputs, with fewer rows if the op has a batch. */
function probeOperands(engine: Engine, { node }: Tunable): Variable[] {
  const batched = node.op.batched ?? []
  const rows = batched.length ? node.inputs[batched[0]].shape[0] : 1
  const numbers = Math.max(...node.inputs.map((v) => v.size))
  const share = Math.min(1, PROBE_NUMBERS[engine.target.adapterClass] / numbers)
  const kept = Math.max(1, Math.ceil(rows * share))
  return node.inputs.map((v: Value, i) => {
    const shape = batched.includes(i) ? [kept, ...v.shape.slice(1)] : v.shape
    return variable(`operand ${i}`, shape, () => hashed(sizeOf(shape), i))
  })
}

/** Hashed numbers repeat after so many: a prime, so that no row or tile is a repetition of another. */
const PERIOD = 1048573

/** Numbers in [−1, 1) without a pattern, so that a wrong index shows. They are exact in f16, and none is a denormal. */
function hashed(count: number, seed: number): Float32Array {
  const values = new Float32Array(count)
  for (let i = 0; i < Math.min(count, PERIOD); i++) {
    let h = Math.imul(i + 1, 0x9e3779b1) ^ Math.imul(seed + 1, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
    values[i] = ((((h ^ (h >>> 13)) >>> 8) & 0x7ff) - 1024) / 1024
  }
  for (let done = PERIOD; done < count; done *= 2) values.copyWithin(done, 0, Math.min(done, count - done))
  return values
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
