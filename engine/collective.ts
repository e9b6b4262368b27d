/** The interface through which processes exchange numbers. The engine has no implementation of it. */

/** Numbers that ranks exchange. */
export type Numbers = Float32Array | Float64Array

/**
 * A group of processes, the ranks, that work on one run together. All ranks call the same methods in the same order and
 * with arrays of the same length and type; a call may begin before an earlier one has ended. Results are the same bits
 * on all ranks, and in every run with the same number of ranks.
 *
 * Every method rejects with an Error of one line if another rank has failed or the connection is lost.
 */
export interface Collective {
  /** The number of this process, from 0 to size − 1. */
  readonly rank: number
  /** The number of processes. */
  readonly size: number

  /**
   * The sum over all ranks, element by element.
   *
   * @param data [n], any unit; the caller gives the array away, and the result may be the same array
   * @returns [n]
   */
  allReduce<A extends Numbers>(data: A): Promise<A>

  /**
   * The arrays of all ranks one after another, rank 0 first.
   *
   * @param data [n]
   * @returns [size · n]
   */
  allGather<A extends Numbers>(data: A): Promise<A>

  /**
   * The array of rank 0.
   *
   * @param data [n] on rank 0; on other ranks an array of the same length, whose contents are replaced
   * @returns [n]
   */
  broadcast<A extends Numbers>(data: A): Promise<A>

  /** Resolves when all ranks have called it. */
  barrier(): Promise<void>
}
