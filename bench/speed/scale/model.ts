/**
 * Models of the time of an all-reduce, and of a step that hides it behind its backward pass.
 *
 * A message of n bytes over a link takes α + n β. Of N ranks (Thakur, Rabenseifner and Gropp 2005,
 * https://doi.org/10.1177/1094342005051521):
 *
 *     ring   2 (N − 1) α + 2 (N − 1) / N · n β
 *     tree   2 ⌈log₂ N⌉ α + 2 (N − 1) / N · n β      recursive halving and doubling
 */

/** A link between two ranks. */
export interface Link {
  /** Seconds of a message without bytes. */
  readonly alpha: number
  /** Seconds of a byte. */
  readonly beta: number
}

export type Algorithm = 'ring' | 'tree'

/** The coefficients of α and β. */
function terms(algorithm: Algorithm, ranks: number, bytes: number): [number, number] {
  const messages = algorithm === 'ring' ? 2 * (ranks - 1) : 2 * Math.ceil(Math.log2(ranks))
  return [messages, ((2 * (ranks - 1)) / ranks) * bytes]
}

/** Seconds of an all-reduce. */
export function allReduceSeconds(algorithm: Algorithm, { alpha, beta }: Link, ranks: number, bytes: number): number {
  const [a, b] = terms(algorithm, ranks, bytes)
  return a * alpha + b * beta
}

/** A measured all-reduce. */
export interface Reduction {
  readonly ranks: number
  readonly bytes: number
  readonly seconds: number
}

/**
 * The link that explains measured all-reduces best: least squares of the relative errors, with α and β of at least 0.
 *
 * @param measured at least two, of different sizes
 */
export function fitLink(algorithm: Algorithm, measured: readonly Reduction[]): Link {
  // Each row is divided by its seconds: errors count relative to what is measured.
  const rows = measured.map(({ ranks, bytes, seconds }) => terms(algorithm, ranks, bytes).map((term) => term / seconds))
  const sum = (f: (row: number[]) => number): number => rows.reduce((total, row) => total + f(row), 0)
  const [aa, ab, bb] = [sum(([a]) => a * a), sum(([a, b]) => a * b), sum(([, b]) => b * b)]
  const [a, b] = [sum(([x]) => x), sum(([, x]) => x)]
  const determinant = aa * bb - ab * ab
  const alpha = (a * bb - b * ab) / determinant
  const beta = (b * aa - a * ab) / determinant
  if (!(alpha >= 0)) return { alpha: 0, beta: b / bb }
  return beta >= 0 ? { alpha, beta } : { alpha: a / aa, beta: 0 }
}

/** An exchange of a step. */
export interface Departure {
  /** The share of the step's computation that comes before it, from 0 to 1. */
  readonly after: number
  readonly bytes: number
}

/** The time of a step of several ranks. */
export interface StepTime {
  readonly seconds: number
  /** Of all exchanges together. */
  readonly exchange: number
  /** The share of the exchanges that runs while the device computes; 1 without exchanges. */
  readonly hidden: number
}

/**
 * A step whose exchanges use the link one after another, each from its departure on.
 *
 * @param compute seconds of a step without exchanges
 * @param reduce seconds of the all-reduce of so many bytes
 */
export function stepTime(
  compute: number,
  departures: readonly Departure[],
  reduce: (bytes: number) => number,
): StepTime {
  let free = 0
  let exchange = 0
  for (const { after, bytes } of departures) {
    const own = reduce(bytes)
    free = Math.max(free, after * compute) + own
    exchange += own
  }
  const seconds = Math.max(compute, free)
  return { seconds, exchange, hidden: exchange > 0 ? 1 - (seconds - compute) / exchange : 1 }
}
