/** Looks for the first dispatch of some programs that gives a value which is not finite. */
import type { Engine } from './engine.js'
import { resolve, type Binding, type Dispatch, type Storage } from './plan.js'
import type { Program } from './program.js'
import type { TypedArray } from './leaves.js'

/** The values of one operand of a dispatch. */
export interface OperandRange {
  /** Its name in the kernel. */
  readonly name: string
  /** The Variable or the input of the program that it is, or the op that computed it. */
  readonly source: string
  readonly written: boolean
  readonly count: number
  /** The number of values that are NaN, and of those that are infinite. */
  readonly nan: number
  readonly infinite: number
  /** The smallest and the largest finite value; absent if no value is finite. */
  readonly range?: readonly [least: number, most: number]
}

/** The first dispatch with a result that is not finite. */
export interface NonFinite {
  readonly program: string
  /** Its index among the `dispatches` of the program. */
  readonly index: number
  readonly dispatches: number
  readonly op: string
  readonly kernel: string
  /** The shapes of the inputs and the outputs of the op; none where a result is copied. */
  readonly inputs: readonly (readonly number[])[]
  readonly outputs: readonly (readonly number[])[]
  /** Its operands of real numbers. Those that it writes are read after it has run. */
  readonly operands: readonly OperandRange[]
}

/**
 * Runs programs one dispatch at a time, and reads what each dispatch writes.
 *
 * @param work runs programs of the engine; after the first dispatch with such a value the other runs do nothing
 * @returns undefined if all results are finite
 */
export async function firstNonFinite(engine: Engine, work: () => Promise<void>): Promise<NonFinite | undefined> {
  let found: NonFinite | undefined
  engine.observer = async (program, inputs) => {
    if (!found) found = await inspected(program, inputs)
  }
  try {
    await work()
  } finally {
    engine.observer = undefined
  }
  return found
}

/** One run of a program, up to the first dispatch that gives a value which is not finite. */
async function inspected(
  program: Program,
  inputs: Readonly<Record<string, TypedArray>>,
): Promise<NonFinite | undefined> {
  const { engine, plan } = program
  await program.replay(inputs, () => undefined)
  const begun = new Set<Storage>()
  for (const [index, dispatch] of plan.dispatches.entries()) {
    const encoder = engine.device.createCommandEncoder()
    // A pooled buffer holds what another value has left in it. A dispatch may write only a part.
    for (const binding of dispatch.bindings) {
      const { storage } = resolve(binding)
      if (storage.kind !== 'temporary' || begun.has(storage)) continue
      begun.add(storage)
      const { buffer, offset } = program.locate({ storage, offset: 0, bytes: storage.bytes })
      encoder.clearBuffer(buffer, offset, storage.bytes)
    }
    const pass = encoder.beginComputePass()
    program.encode(pass, index, index + 1)
    pass.end()
    void engine.submissions.submit(encoder.finish())
    const written = await operandRanges(program, dispatch, ({ write }) => write)
    if (written.every(({ nan, infinite }) => nan + infinite === 0)) continue
    const { op, kernel, node } = dispatch
    return {
      program: plan.label,
      ...{ index, dispatches: plan.dispatches.length, op, kernel },
      inputs: node?.inputs.map(({ shape }) => shape) ?? [],
      outputs: node?.outputs.map(({ shape }) => shape) ?? [],
      operands: [...(await operandRanges(program, dispatch, ({ write }) => !write)), ...written],
    }
  }
  return undefined
}

async function operandRanges(
  program: Program,
  dispatch: Dispatch,
  wanted: (binding: Binding) => boolean,
): Promise<OperandRange[]> {
  const { engine } = program
  const kernel = engine.library.get(dispatch.kernel)
  const types = kernel.numberTypes(dispatch.constants)
  const ranges: OperandRange[] = []
  for (const [i, binding] of dispatch.bindings.entries()) {
    const type = types[i]
    if (type === 'u32' || !wanted(binding) || binding.storage.label === 'unused operand') continue
    const { buffer, offset, size } = program.locate(binding)
    const words = await engine.readBuffer(buffer, offset, size, 'u32')
    const values = type === 'f16' ? halves(words) : new Float32Array(words.buffer)
    const { name } = kernel.storageBindings[i]
    const used = values.subarray(0, values.length - padding(dispatch, binding, type))
    ranges.push({ name, source: binding.storage.label, written: binding.write, ...rangeOf(used) })
  }
  return ranges
}

/** The numbers behind the last value of a tensor: a binding is a multiple of 16 bytes. */
function padding({ node }: Dispatch, { bytes }: Binding, type: 'f32' | 'f16'): number {
  const each = type === 'f16' ? 2 : 4
  const tensors = [...(node?.inputs ?? []), ...(node?.outputs ?? [])]
  const own = tensors.filter((tensor) => tensor.bytes <= bytes && bytes - tensor.bytes < 16)
  return own.length ? Math.max(...own.map((tensor) => bytes - tensor.bytes)) / each : 0
}

function rangeOf(values: Float32Array): Pick<OperandRange, 'count' | 'nan' | 'infinite' | 'range'> {
  let [nan, infinite, least, most] = [0, 0, Infinity, -Infinity]
  for (const value of values) {
    if (Number.isNaN(value)) nan++
    else if (Math.abs(value) === Infinity) infinite++
    else {
      if (value < least) least = value
      if (value > most) most = value
    }
  }
  return { count: values.length, nan, infinite, ...(least <= most && { range: [least, most] as const }) }
}

/** The f16 numbers of two-byte halves of words. */
function halves(words: Uint32Array): Float32Array {
  return Float32Array.from(new Uint16Array(words.buffer), (half) => {
    const sign = half & 0x8000 ? -1 : 1
    const exponent = (half >> 10) & 31
    const fraction = half & 1023
    if (exponent === 31) return fraction ? NaN : sign * Infinity
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24)
  })
}
