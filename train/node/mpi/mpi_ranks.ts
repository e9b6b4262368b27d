/** Ranks that MPI connects: processes on one machine or on several. */
import { restUntil } from '../../../engine/node/index.js'
import type { Collective, Numbers } from '../../../engine/index.js'
import type { Launched } from './launched.js'
import { loadMpi, type MpiLibrary } from './library.js'

/** Most numbers of one call: MPI counts with 32 bits. */
const MOST_NUMBERS = 2 ** 28

/** This process as one rank of several. */
export interface MpiRanks extends Collective {
  readonly localRank: number
  /** Leaves the group; all ranks call it at the end. */
  finalize(): void
  /** Ends the processes of all ranks at once. */
  abort(exitCode: number): void
}

/** A call that has begun. The arrays that the library works on stay referenced until it has ended. */
interface Pending {
  readonly request: Uint8Array
  readonly held: readonly unknown[]
  resolve(): void
}

/**
 * Joins the ranks of the group. All calls are non-blocking: they are polled in every turn of the event loop, and the
 * thread sleeps between two turns for a small share of the time that it has waited.
 *
 * @throws Error in one line if a package or the library is missing
 */
export async function joinMpi(launched: Launched): Promise<MpiRanks> {
  // Three times as fast as the default where it was measured: 44 MB between two ranks in 17 ms and not 50.
  process.env.OMPI_MCA_coll_libnbc_iallreduce_algorithm ??= '3'
  const mpi = await loadMpi(launched)
  check('Init', mpi.init(null, null))
  const read = (call: (comm: bigint | number, result: Int32Array) => number): number => {
    const result = new Int32Array(new ArrayBuffer(4))
    check('Comm', call(mpi.constants.world, result))
    return result[0]
  }
  const [rank, size] = [read(mpi.rank), read(mpi.size)]
  if (rank !== launched.rank || size !== launched.size)
    throw new Error(
      `the MPI library counts ${size} ranks and the launcher ${launched.size}: the library is not the launcher's; name its file in WEBGPU_SSL_MPI`,
    )
  return new Ranks(mpi, rank, size, launched.localRank)
}

function check(what: string, code: unknown): void {
  if (code !== 0) throw new Error(`MPI_${what} failed with code ${String(code)}`)
}

/** Memory that the garbage collector does not move: a view of an ArrayBuffer of its own. */
const fixed = <A extends Numbers>(like: A, length = like.length): A =>
  new (like.constructor as Float32ArrayConstructor)(new ArrayBuffer(length * like.BYTES_PER_ELEMENT)) as unknown as A

class Ranks implements MpiRanks {
  private readonly pending: Pending[] = []
  private polling = false
  private readonly flag = new Int32Array(new ArrayBuffer(4))
  private left = false

  constructor(
    private readonly mpi: MpiLibrary,
    readonly rank: number,
    readonly size: number,
    readonly localRank: number,
  ) {}

  async allReduce<A extends Numbers>(data: A): Promise<A> {
    const { constants, iallreduce } = this.mpi
    const { inPlace, sum, world } = constants
    const sums = fixed(data)
    sums.set(data)
    await this.inPieces(sums, (piece, request) =>
      check('Iallreduce', iallreduce(inPlace, piece, piece.length, this.typeOf(piece), sum, world, request)),
    )
    return sums
  }

  async allGather<A extends Numbers>(data: A): Promise<A> {
    if (data.length > MOST_NUMBERS) throw new Error(`allGather: ${data.length} numbers are too many for one call`)
    const { constants, iallgather } = this.mpi
    const own = fixed(data)
    own.set(data)
    const all = fixed(data, this.size * data.length)
    const [n, type] = [data.length, this.typeOf(data)]
    await this.begin([own, all], (request) =>
      check('Iallgather', iallgather(own, n, type, all, n, type, constants.world, request)),
    )
    return all
  }

  async broadcast<A extends Numbers>(data: A): Promise<A> {
    const { constants, ibcast } = this.mpi
    const sent = fixed(data)
    sent.set(data)
    await this.inPieces(sent, (piece, request) =>
      check('Ibcast', ibcast(piece, piece.length, this.typeOf(piece), 0, constants.world, request)),
    )
    data.set(sent)
    return data
  }

  barrier(): Promise<void> {
    const { constants, ibarrier } = this.mpi
    return this.begin([], (request) => check('Ibarrier', ibarrier(constants.world, request)))
  }

  finalize(): void {
    if (this.left) return
    this.left = true
    check('Finalize', this.mpi.finalize())
  }

  abort(exitCode: number): void {
    if (!this.left) this.mpi.abort(this.mpi.constants.world, exitCode)
  }

  private typeOf(data: Numbers): bigint | number {
    const { float, double } = this.mpi.constants
    return data instanceof Float32Array ? float : double
  }

  private async inPieces<A extends Numbers>(data: A, start: (piece: A, request: Uint8Array) => void): Promise<void> {
    const calls: Promise<void>[] = []
    for (let at = 0; at < data.length; at += MOST_NUMBERS) {
      const piece = data.subarray(at, at + MOST_NUMBERS) as A
      calls.push(this.begin([piece], (request) => start(piece, request)))
    }
    await Promise.all(calls)
  }

  private begin(held: readonly unknown[], start: (request: Uint8Array) => void): Promise<void> {
    const request = new Uint8Array(new ArrayBuffer(8))
    start(request)
    const done = new Promise<void>((resolve) => this.pending.push({ request, held, resolve }))
    // Small exchanges have often ended before the next turn.
    this.look()
    if (this.pending.length && !this.polling) this.poll()
    return this.pending.length ? restUntil(done) : done
  }

  /** Ends the calls that are done. */
  private look(): void {
    const { test, constants } = this.mpi
    for (let i = 0; i < this.pending.length;) {
      check('Test', test(this.pending[i].request, this.flag, constants.statusIgnore))
      if (this.flag[0]) this.pending.splice(i, 1)[0].resolve()
      else i++
    }
  }

  private poll(): void {
    this.polling = true
    setImmediate(() => {
      this.look()
      if (this.pending.length) this.poll()
      else this.polling = false
    })
  }
}
