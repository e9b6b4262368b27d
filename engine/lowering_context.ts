/** What an op's `lower` works with: memory for its values, and dispatches. */
import type { DispatchRequest, Exchange, HostStep, Slice, Target } from './plan.js'
import type { Value } from './value.js'

export interface LoweringContext {
  readonly target: Target

  /** The bytes of an input of this node, or of an output of this node (allocated on first use). */
  of(value: Value): Slice

  /** Scratch memory that lives only within this node. */
  temporary(bytes: number): Slice

  /** Makes an output share the bytes of `slice`, usually a part of an input. No kernel runs and nothing is copied. */
  alias(output: Value, slice: Slice): void

  /**
   * The slice of an output that is computed in place of `input`. It is the input's own memory if no later node reads
   * that memory (or if `input` is the Variable that the output is assigned to). Otherwise it is a copy of the input.
   */
  inPlace(output: Value, input: Value): Slice

  /**
   * Places values one behind another in one storage, so that one dispatch covers them all.
   *
   * @param offsets of each value, in bytes
   * @param bytes of the whole storage
   * @returns false, with the values left where they are, unless every value is a whole temporary of its own
   */
  colocate(values: readonly Value[], offsets: readonly number[], bytes: number): boolean

  /**
   * Records one dispatch.
   *
   * @throws Error for an unknown kernel, buffer or parameter, and for sizes over the adapter's limits
   */
  dispatch(request: DispatchRequest): void

  /** Records that the host takes the slices here, or that its results arrive in them. Their sizes are multiples of 4. */
  exchange(kind: HostStep['kind'], exchange: Exchange, slices: readonly Slice[]): void

  /** Copies a slice to another of the same size, a multiple of 4 bytes. */
  copy(from: Slice, to: Slice): void

  /** The number of workgroups for a kernel that strides over its grid. */
  grid(invocations: number, workgroupSize: number): number

  /**
   * Splits `count` rows into runs that every operand can bind: each run starts at an aligned offset and is not larger
   * than the binding limit.
   *
   * @param bytesPerRow one entry for each operand that is split
   */
  rows(count: number, ...bytesPerRow: number[]): RowRun[]

  /** As `rows`, with runs of at most `most` rows, or of the smallest aligned number of rows if that is more. */
  rowsUpTo(most: number, count: number, ...bytesPerRow: number[]): RowRun[]

  /**
   * The variant that computes this node: the one that the variant table names, else the first.
   *
   * @param variants worth measuring, the cheapest by estimate first
   * @param able all variants that can compute the node; the table may name any of them
   */
  choose<V extends { readonly name: string }>(variants: readonly V[], able?: readonly V[]): V
}

/** Rows start … start + count − 1. */
export interface RowRun {
  readonly start: number
  readonly count: number
}
