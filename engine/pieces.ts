/**
 * How the dispatches of a program are cut into submissions. A software driver can block the process for as long as a
 * submission takes, and a slow GPU may have a watchdog, so no submission should take much longer than `Engine.piece`.
 */
import { ratesOf } from './ops/products/cost.js'
import type { Dispatch, Target } from './plan.js'

/** A piece: the dispatches from index `first` up to but not including `last`. */
export interface Piece {
  readonly first: number
  readonly last: number
}

/** Before anything is measured, pieces are this much shorter by estimate, because the adapter may be a slow one. */
const UNMEASURED = 8
/** By how much one measurement may change the estimate of a piece in relation to the others. */
const MOST_CHANGE = 2

export class Pieces {
  private readonly seconds: Float64Array
  private measured = false

  constructor(dispatches: readonly Dispatch[], target: Target) {
    this.seconds = Float64Array.from(dispatches, (dispatch) => estimate(dispatch, target))
  }

  /**
   * Pieces of at most `piece` seconds, by what is known now. A dispatch that takes longer is a piece of its own.
   *
   * @param ends the numbers of dispatches after which a piece must end
   */
  cut(piece: number, ends?: ReadonlySet<number>): Piece[] {
    const { seconds } = this
    const limit = this.measured ? piece : piece / UNMEASURED
    const pieces: Piece[] = []
    let first = 0
    let sum = 0
    for (let i = 0; i < seconds.length; i++) {
      if (i > first && (sum + seconds[i] > limit || ends?.has(i))) {
        pieces.push({ first, last: i })
        first = i
        sum = 0
      }
      sum += seconds[i]
    }
    pieces.push({ first, last: seconds.length })
    return pieces
  }

  /**
   * Corrects the estimates by the times of a run: all of them in proportion to the time of the whole run, and a single
   * piece by a part of its deviation, since its end is noticed late while the process does other things.
   *
   * @param times seconds of each piece
   */
  learn(pieces: readonly Piece[], times: readonly number[]): void {
    const { seconds } = this
    const expected = pieces.map(({ first, last }) => total(seconds.subarray(first, last)))
    const overall = total(times) / total(expected)
    if (!(overall > 0 && overall < Infinity)) return
    pieces.forEach(({ first, last }, k) => {
      const own = Math.sqrt(times[k] / (expected[k] * overall))
      const factor = overall * Math.min(MOST_CHANGE, Math.max(1 / MOST_CHANGE, own || 1))
      for (let i = first; i < last; i++) seconds[i] *= factor
    })
    this.measured = true
  }
}

/** Seconds of a dispatch at the rates of the cost model. */
function estimate({ flops, bindings }: Dispatch, target: Target): number {
  const rates = ratesOf(target)
  return flops / rates.register + bindings.reduce((sum, { bytes }) => sum + bytes, 0) / rates.bytes
}

const total = (values: ArrayLike<number>): number => Array.prototype.reduce.call(values, (a, b) => a + b, 0) as number
