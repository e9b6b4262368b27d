/** Partial sums that one dispatch after another writes, and their total. */
import type { LoweringContext } from '../lowering_context.js'
import { part, type Slice, type Target } from '../plan.js'
import { sumSplits, up } from './common.js'

/** How many partial sums of `count` f32 numbers one binding holds. */
const sumsPerBinding = ({ maxBindingBytes }: Target, count: number): number =>
  Math.max(1, Math.floor(maxBindingBytes / (4 * count)))

/**
 * Decides how many splits each dispatch of a sum has.
 *
 * @param cut gives the splits of each dispatch, with at most `most` in one
 * @returns `cut` without a limit if a binding holds all partial sums. Otherwise each dispatch leaves room in its binding
 *   for the sum of the dispatches before it.
 */
export function splitsWithin<T extends { readonly splits: number }>(
  target: Target,
  count: number,
  cut: (most: number) => T[],
): T[] {
  const free = cut(Infinity)
  const most = sumsPerBinding(target, count)
  return totalOf(free) <= most ? free : cut(Math.max(1, most - 1))
}

export const totalOf = (runs: readonly { readonly splits: number }[]): number =>
  runs.reduce((total, { splits }) => total + splits, 0)

/**
 * total[i] = factor · Σₛ partial[s, i], added in the order of s.
 *
 * If a binding holds all partial sums, they are added at once. Otherwise they fill one binding after another, and the
 * sum of a full one is the first number of the next. The additions and their order are the same in both cases, so the
 * bits are the same too. The memory is at most that of two bindings.
 */
export class PartialSums {
  private readonly capacity: number
  private full: Slice | undefined
  private group: Slice | undefined
  private used = 0

  /**
   * @param splits the number of partial sums
   * @param count numbers in each
   */
  constructor(
    private readonly context: LoweringContext,
    private readonly total: Slice,
    private readonly splits: number,
    private readonly count: number,
    private readonly factor = 1,
  ) {
    this.capacity = Math.min(splits, sumsPerBinding(context.target, count))
  }

  /**
   * Memory for the next `splits` partial sums, a number that `splitsWithin` allows.
   *
   * @returns the slice to bind, and the index in it of the first of them
   */
  next(splits: number): { partial: Slice; first: number } {
    if (this.splits === 1 && this.factor === 1) return { partial: this.total, first: 0 }
    if (this.group && this.used + splits > this.capacity) this.carry()
    this.group ??= this.scratch()
    const first = this.used
    this.used += splits
    return { partial: this.group, first }
  }

  /** Adds what is left. Call it after the last partial sum is written. */
  finish(): void {
    if (!this.group) return
    if (this.full) this.group = this.added(this.full, this.group)
    sumSplits(this.context, this.group, this.total, this.used, this.count, this.factor)
  }

  private carry(): void {
    if (this.capacity === 1) {
      // A binding has no room for a second partial sum, so two bindings are added.
      this.full = this.full ? this.added(this.full, this.group!) : this.group!
      this.group = undefined
      this.used = 0
      return
    }
    const next = this.scratch()
    sumSplits(this.context, this.group!, part(next, 0, 4 * this.count), this.used, this.count)
    this.group = next
    this.used = 1
  }

  private added(a: Slice, b: Slice): Slice {
    const y = this.scratch()
    const count4 = Math.ceil(this.count / 4)
    this.context.dispatch({
      kernel: 'binary',
      params: { count4, p: 1, q: 0 },
      buffers: { a, b, y },
      workgroups: [this.context.grid(count4, 256)],
    })
    return y
  }

  private scratch(): Slice {
    return this.context.temporary(up(4 * this.capacity * this.count, 16))
  }
}
