/** The same work by this engine and its peers, side by side: results that agree first, then interleaved rounds. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeSafetensors } from '../../models/index.js'
import {
  contests,
  flopsOf,
  inputsOf,
  nameOf,
  resultsOf,
  type Case,
  type Contest,
  type PeerName,
} from './peers/cases.js'
import { LEND_REST } from './peers/browser.js'
import { readTensors, type Hello } from './peers/peer.js'
import { nodePeer, PeerProcess, torchPeer, type Start } from './peers/process.js'
import { ratioPlot } from './plots.js'
import { figure, mebibytes, milliseconds, table, type Origin, type Report } from './report.js'
import { ratio, relativeError, summarize, type Summary } from './statistics.js'

/** A round of a short case repeats it for about this long, so that waiting for the device weighs little. */
const ROUND_SECONDS = 0.05
const MOST_REPEATS = 100
/** Steps take seconds on a CPU driver: fewer rounds. */
const STEP_ROUNDS = { quick: 2, full: 5 }
/** Compiling a whole step takes a peer minutes on a CPU driver. */
const PREPARE_SECONDS = { quick: 90, full: 600 }
const RUN_SECONDS = { quick: 30, full: 300 }
/** Largest relative error at which results count as the same: sums in another order, through 20 layers for a step. */
const TOLERANCE = { op: 1e-4, step: { f32: 2e-2, f16: 0.2 } }

export const OURS = 'webgpu-ssl'

/** One peer's part in a case: its times, or why there are none. */
export interface Entry {
  peer: string
  /** Seconds of one repetition, a round each. */
  seconds?: number[]
  summary?: Summary
  gflops?: number
  /** max |a − b| / max |b| against this engine's result, worst over the result's tensors. */
  error?: number
  /** Its time over ours. */
  ratio?: Summary
  peakBytes?: number
  /** Why it takes no part. */
  cannot?: string
}

export interface CaseResult {
  name: string
  case: Case
  flops: number
  entries: Entry[]
}

interface Contestant {
  name: string
  process: PeerProcess
  entry: Entry
  repeats: number
}

export interface PeersOptions {
  origin: Origin
  adapterClass: 'cpu' | 'gpu'
  /** Whether the adapter has f16. */
  f16: boolean
  rounds: number
  quick: boolean
  /** On a CPU driver: the WebGPU peers' threads rest while they wait, as ours does; by default they come as they are. */
  lendRest: boolean
  /** Only cases whose names contain this. */
  only?: string
  onMessage(line: string): void
}

/** Puts every case to every peer. */
export async function benchPeers(options: PeersOptions): Promise<Report> {
  const { origin, adapterClass, f16, only, onMessage } = options
  const folder = await mkdtemp(join(tmpdir(), 'bench-peers-'))
  const processes = new Map<string, PeerProcess>()
  const absent = new Map<string, string>()
  const hellos: Hello[] = []
  const lent = options.lendRest ? [LEND_REST] : []
  const starts: [string, Start | undefined][] = [
    [OURS, nodePeer('ours.ts')],
    ['tfjs', nodePeer('tfjs.ts', lent)],
    ['jax-js', nodePeer('jax_js.ts', lent)],
    ['torch', torchPeer()],
  ]
  try {
    for (const [name, start] of starts) {
      if (!start) {
        absent.set(name, 'no python3 of PATH has torch')
        continue
      }
      const process = new PeerProcess(start)
      try {
        hellos.push(await process.hello())
        processes.set(name, process)
      } catch (error) {
        if (name === OURS) throw error
        absent.set(name, (error as Error).message)
        process.close()
      }
    }
    for (const { name, version, device } of hellos) onMessage(`${name} ${version} on ${device}`)
    for (const [name, reason] of absent) onMessage(`${name} takes no part: ${reason}`)
    const results: CaseResult[] = []
    for (const contest of contests(adapterClass, { f16, quick: options.quick })) {
      if (only && !nameOf(contest.case).includes(only)) continue
      results.push(await contestOf(contest, processes, absent, folder, options))
      onMessage(describe(results[results.length - 1]))
    }
    if (!results.length) throw new Error(`--only '${only}': no case is called that`)
    return {
      kind: 'peers',
      origin,
      results: { lendRest: options.lendRest, peers: hellos, absent: Object.fromEntries(absent), cases: results },
      markdown: markdown(results, hellos, options),
      plots: { ratios: await ratioPlot(results, origin) },
    }
  } finally {
    for (const process of processes.values()) process.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function contestOf(
  { case: c, peers }: Contest,
  processes: ReadonlyMap<string, PeerProcess>,
  absent: ReadonlyMap<string, string>,
  folder: string,
  options: PeersOptions,
): Promise<CaseResult> {
  const limits = options.quick ? 'quick' : 'full'
  const inputs = join(folder, 'inputs.safetensors')
  await writeFile(inputs, encodeSafetensors(inputsOf(c)))
  const resultOf = (name: string): string => join(folder, `${name}.safetensors`)
  const entries: Entry[] = []
  const contestants: Contestant[] = []
  const lose = (contestant: { name: string; entry: Entry }, error: unknown): void => {
    if (contestant.name === OURS) throw error
    Object.assign(contestant.entry, { cannot: (error as Error).message, seconds: undefined })
  }
  for (const name of [OURS, ...peers] as (typeof OURS | PeerName)[]) {
    const entry: Entry = { peer: name }
    entries.push(entry)
    const process = processes.get(name)
    if (!process) {
      entry.cannot = absent.get(name)
      continue
    }
    const contestant = { name, process, entry, repeats: 1 }
    try {
      const request = { do: 'prepare', case: c, inputs, result: resultOf(name) } as const
      const { unsupported, peakBytes } = await process.ask(request, PREPARE_SECONDS[limits])
      entry.peakBytes = peakBytes
      if (unsupported !== undefined) {
        entry.cannot = unsupported
        continue
      }
      if (name !== OURS) {
        entry.error = disagreement(c, resultOf(OURS), resultOf(name))
        if (!(entry.error <= (c.kind === 'step' ? TOLERANCE.step[c.precision] : TOLERANCE.op))) {
          entry.cannot = `its result differs: relative error ${figure(entry.error)}`
          continue
        }
      }
      // A step was taken three times for its result. The first run of an op still warms up; the second says how
      // often a round repeats it.
      if (c.kind !== 'step') {
        await process.ask({ do: 'run', times: 1 }, RUN_SECONDS[limits])
        const { seconds } = await process.ask({ do: 'run', times: 1 }, RUN_SECONDS[limits])
        contestant.repeats = Math.max(1, Math.min(MOST_REPEATS, Math.ceil(ROUND_SECONDS / seconds!)))
      }
      entry.seconds = []
      contestants.push(contestant)
    } catch (error) {
      lose(contestant, error)
    }
  }
  const rounds = c.kind === 'step' ? Math.min(options.rounds, STEP_ROUNDS[limits]) : options.rounds
  for (let round = 0; round < rounds; round++)
    // Each round begins with another peer, so that none always follows the same one.
    for (let i = 0; i < contestants.length; i++) {
      const contestant = contestants[(i + round) % contestants.length]
      if (!contestant.entry.seconds) continue
      try {
        const times = contestant.repeats
        const { seconds } = await contestant.process.ask({ do: 'run', times }, RUN_SECONDS[limits])
        contestant.entry.seconds.push(seconds!)
      } catch (error) {
        lose(contestant, error)
      }
    }
  const flops = flopsOf(c)
  const ours = entries[0].seconds!
  for (const entry of entries) {
    if (!entry.seconds) continue
    entry.summary = summarize(entry.seconds)
    entry.gflops = flops / entry.summary.median / 1e9
    if (entry.peer !== OURS) entry.ratio = ratio(entry.seconds, ours)
  }
  for (const contestant of contestants)
    if (contestant.process.running)
      await contestant.process.ask({ do: 'release' }, RUN_SECONDS[limits]).catch(() => contestant.process.close())
  return { name: nameOf(c), case: c, flops, entries }
}

/** The worst relative error over the tensors of a result. */
function disagreement(c: Case, ours: string, theirs: string): number {
  const [a, b] = [readTensors(ours), readTensors(theirs)]
  return Math.max(...resultsOf(c).map((name) => relativeError(a[name], b[name])))
}

const describeEntry = ({ peer, summary, ratio: r, cannot }: Entry): string =>
  summary ? `${peer} ${figure(1000 * summary.median)} ms${r ? ` (${figure(r.median)}×)` : ''}` : `${peer}: ${cannot}`

const describe = ({ name, entries }: CaseResult): string => `${name}: ${entries.map(describeEntry).join('; ')}`

/** One row a case: our time, then each peer's time, its ratio to ours and the largest error between the results. */
function markdown(
  results: readonly CaseResult[],
  hellos: readonly Hello[],
  { adapterClass, lendRest }: Pick<PeersOptions, 'adapterClass' | 'lendRest'>,
): string {
  const waiting = lendRest
    ? "The WebGPU peers' threads rest while they wait, as this engine's does."
    : "The WebGPU peers come as they are: while they wait, Dawn's polling keeps one core busy, which this engine's resting " +
      'thread leaves to the driver (`--lend-rest` lends them that).'
  const names = ['tfjs', 'jax-js', 'torch']
  const cell = (result: CaseResult, name: string): string => {
    const entry = result.entries.find(({ peer }) => peer === name)
    if (!entry) return ''
    if (!entry.summary || !entry.ratio) return `cannot: ${entry.cannot}`
    const { median, low, high } = entry.ratio
    return `${milliseconds(entry.summary)} · **${figure(median)}×** [${figure(low)}–${figure(high)}] · error ${figure(entry.error!)}`
  }
  const rows = results.map((result) => {
    const { summary, gflops } = result.entries[0]
    return [result.name, milliseconds(summary!), figure(gflops!), ...names.map((name) => cell(result, name))]
  })
  const steps = results.filter((r) => r.case.kind === 'step')
  const memory = steps.flatMap((r) =>
    r.entries.flatMap((e) => (e.peakBytes ? [[r.name, e.peer, mebibytes(e.peakBytes)]] : [])),
  )
  return [
    '## Peers, side by side',
    hellos.map(({ name, version, device }) => `${name} ${version} (${device})`).join('; '),
    'Times are medians [quartiles] of interleaved rounds; × is how many times longer the peer takes, with the quartiles ' +
      "of the rounds' own ratios; the error is max |a − b| / max |b| between the peer's result and ours. In a step, this " +
      'engine and PyTorch also update the running statistics of batch-norm.' +
      (adapterClass === 'cpu' ? ` ${waiting}` : '') +
      (steps.length ? ` A step has ${steps[0].entries[0].seconds!.length} rounds.` : ''),
    table(['case', OURS, 'GFLOP/s', ...names], rows),
    ...(memory.length ? [table(['step', 'peer', 'peak memory'], memory)] : []),
  ].join('\n\n')
}
