/** Whether the Variables of a network are finite and of a sane size: a small program over all of them. */
import { tensorHealth, type Engine, type Variable } from '../../engine/index.js'

/** What a reading found. */
export interface WeightReading {
  /** The names of Variables with an infinity or NaN. */
  readonly notFinite: readonly string[]
  /** The parameter with the largest root mean square; Infinity where the squares overflow f32. */
  readonly largest: { readonly name: string; readonly rms: number }
}

export interface WeightHealth {
  /** Reads the values after the runs that were submitted before the call, without stalling the queue. */
  read(): Promise<WeightReading>
  release(): void
}

/**
 * A parameter whose root mean square is above this is no longer in a sane range: weights start below 0.3, the factors of
 * batch-norm start at 1, and both stay within a few times that.
 */
export const LARGE_RMS = 10

/**
 * Records the program.
 *
 * @param parameters of the network; only they are searched for the largest root mean square
 * @param others running statistics, moments and other Variables, which must be finite too; those of u32 are left out
 */
export async function weightHealth(
  engine: Engine,
  parameters: readonly Variable[],
  others: readonly Variable[] = [],
): Promise<WeightHealth> {
  const searched = [...new Set([...parameters, ...others])].filter(({ dtype }) => dtype === 'f32')
  const { sums, flags, owners } = tensorHealth(searched)
  const program = await engine.compile({ label: 'weight health', outputs: { sums, flags } })
  const isParameter = new Set(parameters)
  return {
    async read() {
      await program.run()
      const [sums, flags] = await Promise.all([program.read('sums'), program.read('flags')])
      const squares = new Float64Array(searched.length)
      const bad = new Set<number>()
      owners.forEach((tensor, segment) => {
        squares[tensor] += sums[segment]
        if (flags[segment]) bad.add(tensor)
      })
      const candidates = searched.flatMap((v, i) =>
        isParameter.has(v) && !bad.has(i) ? [{ name: v.name, rms: Math.sqrt(squares[i] / v.size) }] : [],
      )
      const largest = candidates.reduce((a, b) => (b.rms > a.rms ? b : a), { name: '', rms: 0 })
      return { notFinite: [...bad].map((i) => searched[i].name), largest }
    },
    release: () => program.destroy(),
  }
}

/** The root mean square of numbers. */
export const rmsOf = (values: ArrayLike<number>): number => {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += values[i] ** 2
  return Math.sqrt(sum / values.length)
}
