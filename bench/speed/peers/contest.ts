/** One case measured on every peer: first the results must agree, then the peers run it in interleaved rounds. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { encodeSafetensors } from '../../../models/index.js'
import { ratio, relativeError, summarize, type Summary } from '../../report/statistics.js'
import { figure } from '../../report/text.js'
import { flopsOf, inputsOf, nameOf, resultsOf, type Case, type Contest } from './cases.js'
import { readTensors } from './peer.js'
import type { PeerProcess } from './process.js'

/** Name of this engine among the peers. */
export const OURS = 'webgpu-ssl'

/** A round of an op repeats it for about this long, so that waiting for the device is a small part of the time. */
const ROUND_SECONDS = 0.05
const MOST_REPEATS = 100
/** On a CPU driver a step takes seconds, and some peers need minutes to compile one. */
const LIMITS = {
  quick: { stepRounds: 2, prepareSeconds: 90, runSeconds: 30 },
  full: { stepRounds: 5, prepareSeconds: 600, runSeconds: 300 },
}
/** Largest relative error of results that count as equal. Peers sum in other orders, through 20 layers in a step. */
const TOLERANCE = { op: 1e-4, step: { f32: 2e-2, f16: 0.2 } }

/** One peer's times in a case, or the reason why there are none. */
export interface Entry {
  peer: string
  /** Seconds of one repetition, for each round. */
  seconds?: number[]
  summary?: Summary
  gflops?: number
  /** max |a − b| / max |b| against this engine's result, the largest over all tensors of the result. */
  error?: number
  /** The peer's time / ours. */
  ratio?: Summary
  peakBytes?: number
  /** Why the peer was not measured. */
  cannot?: string
}

export interface CaseResult {
  name: string
  case: Case
  flops: number
  entries: Entry[]
}

/** The peers' processes by name, and why the other peers are absent. */
export interface Peers {
  processes: ReadonlyMap<string, PeerProcess>
  absent: ReadonlyMap<string, string>
}

/** A peer that takes part in a case. */
interface Contestant {
  process: PeerProcess
  entry: Entry
  /** Repetitions in a round. */
  repeats: number
}

/**
 * Measures one case.
 *
 * @param folder folder for the tensors that processes exchange
 * @throws if this engine fails; a peer that fails is reported in its entry
 */
export async function measureCase(
  { case: c, peers: names }: Contest,
  peers: Peers,
  folder: string,
  { rounds, quick }: { rounds: number; quick: boolean },
): Promise<CaseResult> {
  const limits = LIMITS[quick ? 'quick' : 'full']
  await writeFile(inputsFile(folder), encodeSafetensors(inputsOf(c)))
  const entries: Entry[] = []
  const contestants: Contestant[] = []
  for (const peer of [OURS, ...names]) {
    const entry: Entry = { peer }
    entries.push(entry)
    const process = peers.processes.get(peer)
    if (!process) {
      entry.cannot = peers.absent.get(peer)
      continue
    }
    const contestant = { process, entry, repeats: 1 }
    try {
      await prepare(contestant, c, folder, limits)
      if (entry.cannot === undefined) contestants.push(contestant)
    } catch (error) {
      drop(entry, error)
    }
  }
  await runRounds(contestants, c.kind === 'step' ? Math.min(rounds, limits.stepRounds) : rounds, limits.runSeconds)
  const flops = flopsOf(c)
  summarizeEntries(entries, flops)
  for (const { process } of contestants)
    if (process.running) await process.ask({ do: 'release' }, limits.runSeconds).catch(() => process.close())
  return { name: nameOf(c), case: c, flops, entries }
}

const inputsFile = (folder: string): string => join(folder, 'inputs.safetensors')
const resultFile = (folder: string, peer: string): string => join(folder, `${peer}.safetensors`)

/** Records why a peer was not measured. A failure of this engine ends the benchmark. */
function drop(entry: Entry, error: unknown): void {
  if (entry.peer === OURS) throw error
  Object.assign(entry, { cannot: (error as Error).message, seconds: undefined })
}

/** Compiles the case, compares the result with ours, and finds the number of repetitions in a round. */
async function prepare(
  contestant: Contestant,
  c: Case,
  folder: string,
  { prepareSeconds, runSeconds }: (typeof LIMITS)['full'],
): Promise<void> {
  const { process, entry } = contestant
  const { peer } = entry
  const result = resultFile(folder, peer)
  const answer = await process.ask({ do: 'prepare', case: c, inputs: inputsFile(folder), result }, prepareSeconds)
  entry.peakBytes = answer.peakBytes
  entry.cannot = answer.unsupported
  if (entry.cannot !== undefined) return
  if (peer !== OURS) {
    entry.error = disagreement(c, resultFile(folder, OURS), result)
    if (!(entry.error <= (c.kind === 'step' ? TOLERANCE.step[c.precision] : TOLERANCE.op))) {
      entry.cannot = `its result differs: relative error ${figure(entry.error)}`
      return
    }
  }
  if (c.kind !== 'step') {
    // The first run of an op is a warm-up. A step needs none: three steps were taken for its result.
    await process.ask({ do: 'run', times: 1 }, runSeconds)
    const { seconds } = await process.ask({ do: 'run', times: 1 }, runSeconds)
    contestant.repeats = Math.max(1, Math.min(MOST_REPEATS, Math.ceil(ROUND_SECONDS / seconds!)))
  }
  entry.seconds = []
}

/** Every peer runs once in each round. Each round starts with another peer, so that no peer always follows the same. */
async function runRounds(contestants: readonly Contestant[], rounds: number, runSeconds: number): Promise<void> {
  for (let round = 0; round < rounds; round++)
    for (let i = 0; i < contestants.length; i++) {
      const { process, entry, repeats } = contestants[(i + round) % contestants.length]
      if (!entry.seconds) continue
      try {
        const { seconds } = await process.ask({ do: 'run', times: repeats }, runSeconds)
        entry.seconds.push(seconds!)
      } catch (error) {
        drop(entry, error)
      }
    }
}

function summarizeEntries(entries: readonly Entry[], flops: number): void {
  const ours = entries[0].seconds!
  for (const entry of entries) {
    if (!entry.seconds) continue
    entry.summary = summarize(entry.seconds)
    entry.gflops = flops / entry.summary.median / 1e9
    if (entry.peer !== OURS) entry.ratio = ratio(entry.seconds, ours)
  }
}

/** The largest relative error over the tensors of a result. */
function disagreement(c: Case, ours: string, theirs: string): number {
  const [a, b] = [readTensors(ours), readTensors(theirs)]
  return Math.max(...resultsOf(c).map((name) => relativeError(a[name], b[name])))
}
