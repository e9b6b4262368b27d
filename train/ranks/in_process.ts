/** Ranks within one process, for tests and for workers that share a thread. */
import type { Collective, Numbers } from '../../engine/index.js'

/** One meeting of all ranks: what each brought, and what they take away. */
interface Meeting {
  readonly brought: (Numbers | undefined)[]
  readonly waiting: { resolve(all: readonly Numbers[]): void; reject(error: Error): void }[]
}

/** The ranks of a group in one process. */
export interface InProcessRanks {
  readonly ranks: readonly Collective[]
  /** Ends all exchanges, begun and to come, with an error: a rank has failed. */
  fail(error: Error): void
}

/**
 * @param size the number of ranks
 * @returns one `Collective` for each rank; sums are taken in f64, in the order of the ranks
 */
export function inProcessRanks(size: number): InProcessRanks {
  const meetings: Meeting[] = []
  const called = new Array<number>(size).fill(0)
  let failure: Error | undefined

  const meet = (rank: number, data: Numbers): Promise<readonly Numbers[]> => {
    if (failure) return Promise.reject(failure)
    const meeting = (meetings[called[rank]++] ??= { brought: new Array<undefined>(size), waiting: [] })
    meeting.brought[rank] = data.slice()
    return new Promise((resolve, reject) => {
      meeting.waiting.push({ resolve, reject })
      if (meeting.waiting.length < size) return
      const all = meeting.brought as Numbers[]
      const differs = all.find((other) => other.length !== all[0].length)
      const error = differs && new Error(`ranks exchange ${all[0].length} and ${differs.length} numbers at once`)
      for (const one of meeting.waiting)
        if (error) one.reject(error)
        else one.resolve(all)
      delete meetings[called[rank] - 1]
    })
  }

  const collectiveOf = (rank: number): Collective => ({
    rank,
    size,
    async allReduce(data) {
      const all = await meet(rank, data)
      return data.map((_, i) => all.reduce((sum, one) => sum + one[i], 0)) as typeof data
    },
    async allGather(data) {
      const all = await meet(rank, data)
      const together = new (data.constructor as Float32ArrayConstructor)(size * data.length)
      all.forEach((one, r) => together.set(one, r * data.length))
      return together as unknown as typeof data
    },
    async broadcast(data) {
      data.set((await meet(rank, data))[0])
      return data
    },
    async barrier() {
      await meet(rank, new Float32Array(0))
    },
  })

  return {
    ranks: Array.from({ length: size }, (_, rank) => collectiveOf(rank)),
    fail(error) {
      failure ??= error
      for (const meeting of Object.values(meetings)) for (const { reject } of meeting.waiting) reject(failure)
    },
  }
}
