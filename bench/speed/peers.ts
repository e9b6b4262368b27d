/** The same work on this engine and on its peers: tfjs, jax-js and PyTorch. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { markdownTable } from '../../train/report/text.js'
import { figure, mebibytes, milliseconds } from '../report/text.js'
import type { Measurement, MeasureOptions } from './measurement.js'
import { LEND_REST } from './peers/browser.js'
import { TUNE } from './peers/ours.js'
import { contests, nameOf, PEERS, type PeerName } from './peers/cases.js'
import { measureCase, OURS, type CaseResult, type Entry, type Peers } from './peers/contest.js'
import type { Hello } from './peers/peer.js'
import { nodePeer, PeerProcess, torchPeer, type Start } from './peers/process.js'
import { ratioPlot } from './peers_plot.js'

/** Peers run in processes of their own, each with its own device. */
export interface PeersOptions extends Omit<MeasureOptions, 'engine'> {
  adapterClass: 'cpu' | 'gpu'
  /** Whether the adapter has f16. */
  f16: boolean
  /** On a CPU driver: the threads of the WebGPU peers sleep while they wait, as this engine's thread does. */
  lendRest: boolean
  /** Our process measures the variants of each product first. */
  tune: boolean
  /** Only these peers; all by default. */
  peers?: readonly PeerName[]
}

/** Measures every case on every peer. */
export async function benchPeers(options: PeersOptions): Promise<Measurement> {
  const { origin, adapterClass, f16, rounds, quick, lendRest, only, peers: wanted, onMessage, save } = options
  const folder = await mkdtemp(join(tmpdir(), 'bench-peers-'))
  const processes = new Map<string, PeerProcess>()
  const absent = new Map<string, string>()
  try {
    const hellos = await startPeers(processes, absent, { lendRest, tune: options.tune, wanted })
    for (const { name, version, device } of hellos) onMessage(`${name} ${version} on ${device}`)
    for (const [name, reason] of absent) onMessage(`${name} is not measured: ${reason}`)
    const peers: Peers = { processes, absent }
    const results: CaseResult[] = []
    for (const contest of contests(adapterClass, { f16, quick })) {
      if (only && !nameOf(contest.case).includes(only)) continue
      const invited = { ...contest, peers: contest.peers.filter((peer) => !wanted || wanted.includes(peer)) }
      if (!invited.peers.length) continue
      const result = await measureCase(invited, peers, folder, { rounds, quick })
      results.push(result)
      onMessage(`${result.name}: ${result.entries.map(describeEntry).join('; ')}`)
      await save?.({ lendRest, peers: hellos, absent: Object.fromEntries(absent), cases: results })
    }
    if (!results.length) throw new Error(`--only '${only}': no case has this text in its name`)
    return {
      kind: 'peers',
      origin,
      results: { lendRest, peers: hellos, absent: Object.fromEntries(absent), cases: results },
      markdown: markdown(results, hellos, options),
      plots: { ratios: await ratioPlot(results, origin) },
    }
  } finally {
    for (const process of processes.values()) process.close()
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * Starts a process for this engine and for each peer.
 *
 * @param processes receives the processes that started
 * @param absent receives the reason for each peer that did not start
 */
async function startPeers(
  processes: Map<string, PeerProcess>,
  absent: Map<string, string>,
  { lendRest, tune, wanted }: Pick<PeersOptions, 'lendRest' | 'tune'> & { wanted?: readonly PeerName[] },
): Promise<Hello[]> {
  const args = lendRest ? [LEND_REST] : []
  const starts: [typeof OURS | PeerName, Start | undefined][] = [
    [OURS, nodePeer('ours.ts', tune ? [TUNE] : [])],
    ['tfjs', nodePeer('tfjs.ts', args)],
    ['jax-js', nodePeer('jax_js.ts', args)],
    ['torch', torchPeer()],
  ]
  const hellos: Hello[] = []
  for (const [name, start] of starts) {
    if (name !== OURS && wanted && !wanted.includes(name)) continue
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
  return hellos
}

const describeEntry = ({ peer, summary, ratio: r, cannot }: Entry): string =>
  summary ? `${peer} ${figure(1000 * summary.median)} ms${r ? ` (${figure(r.median)}×)` : ''}` : `${peer}: ${cannot}`

/** One row for each case: our time, then for each peer its time, the ratio to our time and the error of its result. */
function markdown(
  results: readonly CaseResult[],
  hellos: readonly Hello[],
  { adapterClass, lendRest }: Pick<PeersOptions, 'adapterClass' | 'lendRest'>,
): string {
  const waiting = lendRest
    ? 'The threads of the WebGPU peers sleep while they wait, as the thread of this engine does (`--lend-rest`).'
    : "The WebGPU peers run unchanged: while they wait, Dawn's polling keeps one core busy. This engine's thread sleeps " +
      'and leaves that core to the driver. With `--lend-rest` the threads of the peers sleep too.'
  const cell = (result: CaseResult, name: string): string => {
    const entry = result.entries.find(({ peer }) => peer === name)
    if (!entry) return ''
    if (!entry.summary || !entry.ratio) return `cannot: ${entry.cannot}`
    const { median, low, high } = entry.ratio
    return `${milliseconds(entry.summary)} · **${figure(median)}×** [${figure(low)}–${figure(high)}] · error ${figure(entry.error!)}`
  }
  const rows = results.map((result) => {
    const { summary, gflops } = result.entries[0]
    return [result.name, milliseconds(summary!), figure(gflops!), ...PEERS.map((name) => cell(result, name))]
  })
  const steps = results.filter((r) => r.case.kind === 'step')
  const memory = steps.flatMap((r) =>
    r.entries.flatMap((e) => (e.peakBytes ? [[r.name, e.peer, mebibytes(e.peakBytes)]] : [])),
  )
  return [
    '## Comparison with peers',
    hellos.map(({ name, version, device }) => `${name} ${version} (${device})`).join('; '),
    'Times are medians [quartiles] of interleaved rounds. × is how many times longer the peer takes: the ratio of the ' +
      'medians [quartiles of the ratios of single rounds]. The error is max |a − b| / max |b| between the ' +
      "peer's result and ours. In a step, this engine and PyTorch also update the running statistics of batch-norm." +
      (adapterClass === 'cpu' ? ` ${waiting}` : '') +
      (steps.length ? ` A step has ${steps[0].entries[0].seconds!.length} rounds.` : ''),
    markdownTable(['case', OURS, 'GFLOP/s', ...PEERS], rows),
    ...(memory.length ? [markdownTable(['step', 'peer', 'peak memory'], memory)] : []),
  ].join('\n\n')
}
