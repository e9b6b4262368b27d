/** `npm run bench -- kernels | losses | step | readout | peers | trace`: see `--help`. */
import { Argument, Command } from 'commander'
import type { Engine } from '../../engine/index.js'
import { profile, traceEvents } from '../../engine/profiling.js'
import { ConfigError } from '../../train/config/config.js'
import { number, openWithNote, parseOptions, runCommand, withAdapter } from '../../train/cli/common.js'
import { writeAtomically } from '../../train/node/files.js'
import { benchKernels } from './kernels.js'
import { benchLosses } from './losses.js'
import { benchPeers } from './peers.js'
import { benchReadout } from './readout.js'
import { originOf, render, writeReport, type Report } from './report.js'
import { benchSteps, workloads } from './step.js'
import { compileWorkload, nameOf } from './workload.js'

interface Options {
  json?: string
  plots?: string
  out?: string
  only?: string
  rounds?: number
  quick?: boolean
  lendRest?: boolean
  adapter?: string
}

const command = withAdapter(
  new Command('bench')
    .description('Measure the engine on this machine; prints a Markdown table.')
    .addArgument(
      new Argument(
        '<what>',
        'kernels, losses, step, readout, peers (side by side) or trace (a file of one step)',
      ).choices(['kernels', 'losses', 'step', 'readout', 'peers', 'trace']),
    )
    .option('--json <file>', 'write everything measured there, and SVG plots beside it')
    .option('--plots <folder>', 'write the plots there')
    .option('--out <file>', 'trace: the Chrome-trace file to write (trace.json)')
    .option('--only <text>', 'only cases whose names contain this')
    .option('--rounds <count>', 'rounds that medians are taken over (9; quick and readout: 3)', number('--rounds'))
    .option('--lend-rest', "peers, on a CPU driver: let the WebGPU peers' threads rest while they wait, as ours does")
    .option('--quick', 'fewer cases and rounds: 3 to 5 minutes on a CPU driver'),
)

type Subject = 'kernels' | 'losses' | 'step' | 'readout' | 'peers' | 'trace'

await runCommand(async () => {
  const {
    json,
    plots,
    out,
    only,
    quick = false,
    lendRest = false,
    adapter,
    ...options
  } = parseOptions<Options>(command)
  const [what] = command.processedArgs as [Subject]
  const rounds = options.rounds ?? (quick || what === 'readout' ? 3 : 9)
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new ConfigError(`--rounds ${rounds}: must be a whole number of at least 1`)
  if (lendRest && what !== 'peers') throw new ConfigError('--lend-rest is for peers')
  if (out !== undefined && what !== 'trace') throw new ConfigError('--out is for trace: the others take --json')
  if (what === 'trace')
    for (const [name, given] of Object.entries({ only, json, plots, quick: quick || undefined }))
      if (given !== undefined) throw new ConfigError(`--${name} is not for trace: it takes --out and --rounds`)
  const engine = await openWithNote(adapter)
  const origin = originOf(engine, rounds)
  const onMessage = (line: string): void => console.error(line)
  if (what === 'trace') {
    const path = out ?? 'trace.json'
    console.log(`${path}: ${await trace(engine, path, rounds)}`)
    return
  }
  const report = await measure(what)
  console.log(render(report))
  for (const path of await writeReport(report, { json, plots })) console.error(`wrote ${path}`)

  async function measure(subject: Exclude<Subject, 'trace'>): Promise<Report> {
    const how = { engine, origin, rounds, quick, only, onMessage }
    if (subject === 'kernels') return benchKernels(how)
    if (subject === 'losses') return benchLosses(how)
    if (subject === 'readout') return benchReadout(how)
    if (subject === 'step') return benchSteps(how)
    // The peers' processes have devices of their own, and the machine to themselves.
    const { adapterClass, f16 } = engine.target
    engine.close()
    return benchPeers({ origin, adapterClass, f16, rounds, quick, lendRest, only, onMessage })
  }
})

/** One step of the smallest workload as a Chrome-trace file; says what is in it. */
async function trace(engine: Engine, path: string, rounds: number): Promise<string> {
  const [workload] = workloads(engine.target.adapterClass, engine.target.f16, true)
  const { program, inputs } = await compileWorkload(engine, workload)
  const measured = await profile(program, inputs(0), { rounds })
  await writeAtomically(path, JSON.stringify(traceEvents(measured)))
  return `${measured.dispatches.length} dispatches of ${nameOf(workload)}, by ${measured.method}; open it in chrome://tracing or Perfetto`
}
