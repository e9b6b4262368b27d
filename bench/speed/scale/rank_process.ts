/**
 * One rank of a measurement; `mpirun` starts it, or it runs alone as the only rank. Argument: the settings as JSON. Rank 0
 * prints what all ranks have measured as one line of JSON.
 */
import { openEngine } from '../../../engine/node/index.js'
import type { Collective, Numbers } from '../../../engine/index.js'
import { joinMpi } from '../../../train/node/mpi/mpi_ranks.js'
import { launched } from '../../../train/node/mpi/launched.js'
import { BUCKET_BYTES } from '../../../train/step/distributed.js'
import { buildNetwork } from '../../../train/step/network.js'
import { compileTrainingStep } from '../../../train/step/index.js'
import { configOf, randomImages, rowsOf, type Workload } from '../workload.js'
import { median } from '../../report/statistics.js'

export interface RankSettings {
  /** Of each rank. */
  workload: Workload
  rounds: number
  stepsPerRound: number
  /** Of the all-reduces that are measured alone. */
  bytes: number[]
  adapter?: string
}

export interface RankResult {
  ranks: number
  /** Of the fastest repeat, where the slowest rank counts: other programs only make one slower. */
  reductions: { bytes: number; seconds: number }[]
  /** Seconds of a step with exchanges, and with exchanges that take no time, by round. */
  steps: number[]
  stepsAlone: number[]
  /** Of a step: seconds in which at least one exchange was under way (median), its bytes and exchanges. */
  exchangeSeconds: number
  /**
   * The share of these seconds before the last bucket of gradients departs, which is when the device has ended the backward
   * pass (median): it is hidden behind that pass.
   */
  hidden: number
  exchangeBytes: number
  exchanges: number
}

/** Exchanges that are timed, or that give back at once what they get. */
class Timed implements Collective {
  readonly rank: number
  readonly size: number
  real = true
  private under = 0
  private since = 0
  private lastBegin = 0
  private lastEnd = 0
  private seconds = 0
  bytes = 0
  calls = 0

  constructor(private readonly inner: Collective) {
    this.rank = inner.rank
    this.size = inner.size
  }

  async allReduce<A extends Numbers>(data: A): Promise<A> {
    if (!this.real) return data
    this.bytes += data.byteLength
    this.calls++
    this.lastBegin = performance.now()
    if (this.under++ === 0) this.since = this.lastBegin
    const sums = await this.inner.allReduce(data)
    this.lastEnd = performance.now()
    if (--this.under === 0) this.seconds += (this.lastEnd - this.since) / 1000
    return sums
  }

  /** The exchanges since the last call of this function, which are those of a step. */
  takeStep(): { seconds: number; hidden: number } {
    const { seconds } = this
    this.seconds = 0
    return { seconds, hidden: 1 - (this.lastEnd - this.lastBegin) / 1000 / seconds }
  }

  allGather = <A extends Numbers>(data: A): Promise<A> => this.inner.allGather(data)
  broadcast = <A extends Numbers>(data: A): Promise<A> => this.inner.broadcast(data)
  barrier = (): Promise<void> => this.inner.barrier()
}

/** The number of turns that each size has. */
const TURNS = 15
/** A turn ends after so many repeats, or after about so many seconds. */
const MOST_REPEATS = 20
const REPEAT_SECONDS = 0.2

const settings = JSON.parse(process.argv[2]) as RankSettings
const place = launched()
const ranks = place && (await joinMpi(place))

/** The largest of the ranks' numbers. */
async function slowest(seconds: number): Promise<number> {
  return ranks ? Math.max(...(await ranks.allGather(Float64Array.of(seconds)))) : seconds
}

async function reductions(): Promise<RankResult['reductions']> {
  if (!ranks) return []
  const least = settings.bytes.map(() => Infinity)
  // The sizes take turns, so that a while in which the machine is busy does not meet one size alone.
  for (let turn = 0; turn < TURNS; turn++)
    for (const [i, bytes] of settings.bytes.entries()) least[i] = Math.min(least[i], await fastest(ranks, bytes))
  return settings.bytes.map((bytes, i) => ({ bytes, seconds: least[i] }))
}

/** The fastest of some all-reduces in buckets that are exchanged at once, as a step has them; in seconds. */
async function fastest(ranks: Collective, bytes: number): Promise<number> {
  const buckets = Array.from(
    { length: Math.ceil(bytes / BUCKET_BYTES) },
    (_, i) => new Float32Array(Math.min(BUCKET_BYTES, bytes - i * BUCKET_BYTES) / 4),
  )
  let least = Infinity
  // All ranks know the time of the slowest, so they end together.
  for (let count = 0, spent = 0; count < MOST_REPEATS && (spent < REPEAT_SECONDS || count < 2); count++) {
    await ranks.barrier()
    const begun = performance.now()
    await Promise.all(buckets.map((bucket) => ranks.allReduce(bucket)))
    const seconds = await slowest((performance.now() - begun) / 1000)
    least = Math.min(least, seconds)
    spent += seconds
  }
  return least
}

async function steps(): Promise<Omit<RankResult, 'ranks' | 'reductions'>> {
  const { workload, rounds, stepsPerRound } = settings
  const engine = await openEngine({ adapter: settings.adapter })
  const config = configOf({ ...workload, batch: workload.batch * (ranks?.size ?? 1) })
  const own = configOf(workload)
  const timed = ranks && new Timed(ranks)
  const images = randomImages(engine, workload)
  const step = await compileTrainingStep(engine, images, buildNetwork(config), config, { collective: timed })
  const rate = Float32Array.of(1e-6)
  let drawn = 0
  const exchanging: { seconds: number; hidden: number }[] = []
  const seconds = async (real: boolean): Promise<number> => {
    if (timed) timed.real = real
    await ranks?.barrier()
    const begun = performance.now()
    for (let i = 0; i < stepsPerRound; i++) {
      await step.run({ rows: rowsOf(own, workload.pixels, drawn++), rate })
      await engine.idle()
      if (timed && real) exchanging.push(timed.takeStep())
    }
    return slowest((performance.now() - begun) / 1000 / stepsPerRound)
  }
  await seconds(true)
  exchanging.length = 0
  const [withExchanges, alone]: [number[], number[]] = [[], []]
  if (timed) timed.bytes = timed.calls = 0
  for (let round = 0; round < rounds; round++) {
    withExchanges.push(await seconds(true))
    alone.push(timed ? await seconds(false) : withExchanges[round])
  }
  step.destroy()
  engine.close()
  const taken = rounds * stepsPerRound
  return {
    ...{ steps: withExchanges, stepsAlone: alone },
    exchangeSeconds: timed ? median(exchanging.map((one) => one.seconds)) : 0,
    hidden: timed ? median(exchanging.map((one) => one.hidden)) : 1,
    ...{ exchangeBytes: (timed?.bytes ?? 0) / taken, exchanges: (timed?.calls ?? 0) / taken },
  }
}

const result: RankResult = { ranks: ranks?.size ?? 1, reductions: await reductions(), ...(await steps()) }
if ((ranks?.rank ?? 0) === 0) console.log(JSON.stringify(result))
ranks?.finalize()
process.exit()
