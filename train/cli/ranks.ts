/** A command as one of several ranks, where `mpirun` or `srun` has started it. */
import { say } from '../../engine/node/command.js'
import { shareOfGpus } from '../../engine/node/equal_gpus.js'
import { joinMpi, type MpiRanks } from '../node/mpi/mpi_ranks.js'
import { launched } from '../node/mpi/launched.js'

/** Milliseconds that a rank waits before it reports an error: an error that all ranks have is reported by rank 0 alone. */
const REPORT_LATER_MS = 4000

/** Milliseconds between the last line of a rank and the end of all: MPICH drops what its launcher has not read by then. */
const LAST_LINE_MS = 500

/**
 * Runs the work of a command. Only rank 0 prints. If a rank fails, it says so in one line and ends all ranks.
 *
 * @param work with the ranks, or without them where the command runs alone
 * @param machine for tests: the devices of the machine
 */
export async function withRanks(
  work: (ranks?: MpiRanks) => Promise<void>,
  machine?: Parameters<typeof shareOfGpus>[2],
): Promise<void> {
  const place = launched()
  if (!place) return work()
  // Of a machine's equal GPUs each rank takes one of its own.
  const warn = (line: string): void => void (place.localRank === 0 && say(line))
  Object.assign(process.env, await shareOfGpus(place.localRank, warn, machine))
  const ranks = await joinMpi(place)
  let ended = false
  // A rank that ended alone would leave the others waiting.
  process.on('exit', (code) => {
    if (ended) return
    // Nothing asynchronous runs while a process exits.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LAST_LINE_MS)
    ranks.abort(code || 1)
  })
  const silenced = ranks.rank > 0 ? silence() : undefined
  if (ranks.rank === 0) say(`${ranks.size} ranks (${place.family})`)
  try {
    await work(ranks)
    ended = true
    ranks.finalize()
  } catch (error) {
    // --help is no failure.
    if ((error as { exitCode?: unknown }).exitCode === 0) {
      ended = true
      ranks.finalize()
    } else if (silenced) {
      await new Promise((resolve) => setTimeout(resolve, REPORT_LATER_MS))
      silenced()
      ;(error as Error).message = `rank ${ranks.rank}: ${(error as Error).message}`
    }
    throw error
  }
}

/** Drops what this process prints. @returns lets it print again */
function silence(): () => void {
  const streams = [process.stdout, process.stderr]
  const before = streams.map((stream) => stream.write.bind(stream))
  for (const stream of streams) stream.write = () => true
  return () => streams.forEach((stream, i) => (stream.write = before[i] as typeof stream.write))
}

/**
 * Loads what all ranks of a machine need. The first of them does so before the others, so that it alone downloads and
 * unpacks.
 */
export async function firstOfMachineFirst<T>(ranks: MpiRanks | undefined, load: () => Promise<T>): Promise<T> {
  if (!ranks) return load()
  if (ranks.localRank > 0) await ranks.barrier()
  const loaded = await load()
  if (ranks.localRank === 0) await ranks.barrier()
  return loaded
}
