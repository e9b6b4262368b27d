/** `npm run bench -- BENCHMARK`: measures the engine on this machine; see `--help`. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Argument, Command, Option } from 'commander'
import { number, openWithNote, parseOptions, runCommand, wholeNumber, withAdapter } from '../../train/cli/common.js'
import { tuneByMeasurement } from '../../engine/node/index.js'
import { ConfigError } from '../../train/config/config.js'
import { checkFile } from '../../train/node/files.js'
import { originOf } from '../report/origin.js'
import { benchGpu } from './gpu/gpu.js'
import { benchSmoke } from './gpu/smoke.js'
import { parts, type Part } from './gpu/stages.js'
import { families, type Family } from './isa/compiler.js'
import { benchIsa } from './isa/isa.js'
import { benchKernels } from './kernels.js'
import { benchLosses } from './losses.js'
import { memoryMarkdown, planMemory } from './memory.js'
import { render, writeMeasurement, writeResults, type Measurement } from './measurement.js'
import { benchPeers } from './peers.js'
import { PEERS, type PeerName } from './peers/cases.js'
import { benchPrecision } from './precision.js'
import { benchReadout } from './readout.js'
import { speedrun } from './speedrun.js'
import { benchScale } from './scale/scale.js'
import { benchSteps } from './step.js'
import { writeTrace } from './trace.js'

interface Options {
  json?: string
  plots?: string
  out?: string
  force?: true
  only?: string
  rounds?: number
  tune?: true
  quick?: boolean
  lendRest?: boolean
  family?: Family
  dataDir?: string
  peers?: PeerName[]
  minutes?: number
  stage?: Part
  adapter?: string
}

const MEASURE = ['json', 'plots', 'force', 'only', 'rounds', 'quick', 'tune'] as const satisfies (keyof Options)[]

/** What each benchmark measures, and the options it takes beside --adapter. */
const BENCHMARKS = {
  peers: {
    says: 'the same work on this engine, tfjs, jax-js and PyTorch',
    takes: [...MEASURE, 'lendRest', 'peers'],
  },
  kernels: { says: "each kernel relative to the adapter's ceilings", takes: MEASURE },
  step: { says: 'whole steps: images/s, time by kernel, memory, first step', takes: MEASURE },
  losses: { says: 'each objective by number of views and projector width', takes: MEASURE },
  readout: { says: "the paper's linear probe and kNN at the size of CIFAR-10", takes: MEASURE },
  precision: {
    says: 'losses and linear probes of training in f16 and in f32 on CIFAR-10',
    takes: ['json', 'force', 'quick', 'dataDir'],
  },
  isa: {
    says: "every pipeline as a GPU's compiler sees it; needs no GPU",
    takes: ['json', 'force', 'only', 'quick', 'family'],
  },
  speedrun: {
    says: 'CIFAR-10 in 15 minutes on this machine: each objective, then the best of them on the test images',
    takes: ['out', 'only', 'minutes', 'dataDir'],
  },
  scale: {
    says: 'several ranks on this machine, and a plan for many GPUs',
    takes: ['json', 'plots', 'force', 'rounds', 'quick'],
  },
  memory: { says: 'memory of the largest steps, by their plans; needs no GPU', takes: [] },
  trace: { says: 'one step as a file for chrome://tracing', takes: ['out', 'force', 'rounds', 'only', 'tune'] },
  smoke: {
    says: 'each variant of each product compared with the plain one',
    takes: ['json', 'force', 'only', 'quick'],
  },
  gpu: {
    says: 'the first minutes on a GPU, in stages with time limits; one page',
    takes: ['out', 'force', 'minutes', 'stage', 'dataDir', 'quick'],
  },
} as const satisfies Record<string, { says: string; takes: readonly (keyof Options)[] }>

type Name = keyof typeof BENCHMARKS
const names = Object.keys(BENCHMARKS) as Name[]

const command = withAdapter(
  new Command('bench')
    .description('Measure the engine on this machine, and print tables in Markdown.')
    .addArgument(new Argument('<benchmark>', 'what to measure').choices(names))
    .option('--json <file>', 'write everything measured to this file, and SVG plots beside it')
    .option('--plots <folder>', 'write the plots to this folder')
    .option(
      '--out <path>',
      'trace: the file to write (trace.json); gpu: the folder of the results; speedrun: that of its readings (runs/speedrun)',
    )
    .option('--force', 'replace the file of --json or --out, and the plots beside it, if they exist')
    .option('--only <text>', 'only cases whose names contain this text')
    .option(
      '--rounds <count>',
      'rounds that medians are taken over (9; 3 for readout and with --quick)',
      wholeNumber('--rounds', 1),
    )
    .option(
      '--lend-rest',
      'peers, on a CPU driver: the threads of the WebGPU peers sleep while they wait, as ours does',
    )
    .option('--data-dir <folder>', 'precision, gpu and speedrun: CIFAR-10 in its official format (the cache)')
    .addOption(new Option('--peers <names...>', 'peers: only these').choices(PEERS))
    .option('--minutes <count>', 'gpu: the time for all stages (9); speedrun: that of a run (15)', number('--minutes'))
    .addOption(new Option('--stage <part>', 'gpu: only this part of the stages').choices(parts))
    .addOption(new Option('--family <name>', 'isa: the AMD GPU to compile for (navi31)').choices(families))
    .option('--tune', 'measure the variants of each product first, as pretraining does; the JSON file holds the table')
    .option('--quick', 'fewer cases and rounds: 3 to 5 minutes on a CPU driver')
    .addHelpText(
      'after',
      ['', 'Benchmarks:', ...names.map((name) => `  ${name.padEnd(10)} ${BENCHMARKS[name].says}`)].join('\n'),
    ),
)

/** @throws Error if a folder is missing or would lose its results */
async function firstMinutes({ out, minutes = 9, stage: part, quick = false, ...rest }: Options): Promise<void> {
  if (out === undefined) throw new ConfigError('gpu: name the folder of the results with --out')
  if (!(minutes > 0)) throw new ConfigError(`--minutes ${minutes}: must be more than 0`)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const onMessage = (line: string): void => console.error(line)
  const results = await benchGpu({ ...rest, out, minutes, part, short: quick, onMessage, signal: stop.signal })
  console.log(join(out, 'report.html'))
  if (results.stopped !== undefined) throw new Error(results.stopped)
}

const flagOf = (option: string): string => `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

/** @throws ConfigError if an option is given that the benchmark does not take */
function checkOptions(name: Name, { adapter: _, ...given }: Options): void {
  const takes: readonly string[] = BENCHMARKS[name].takes
  const wrong = Object.keys(given).find((option) => !takes.includes(option))
  const list = takes
    .map(flagOf)
    .join(', ')
    .replace(/, (\S+)$/, ' and $1')
  if (wrong !== undefined)
    throw new ConfigError(`${flagOf(wrong)} is not for ${name}: it takes ${list || 'only --adapter'}`)
}

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  const [name] = command.processedArgs as [Name]
  checkOptions(name, options)
  const onlyInClones = {
    peers: 'peers/pytorch.py',
    isa: 'isa/null_gpu.c',
    gpu: 'gpu/end_with_parent.mjs',
  } as Partial<Record<Name, string>>
  if (onlyInClones[name] && !existsSync(new URL(onlyInClones[name], import.meta.url)))
    throw new ConfigError(`${name}: needs files and packages that only a clone of the repository has: run it there`)
  const {
    json,
    plots,
    out = name === 'speedrun' ? 'runs/speedrun' : 'trace.json',
    force,
    only,
    quick = false,
    lendRest = false,
    dataDir,
    adapter,
  } = options
  if (name === 'gpu') return firstMinutes(options)
  if (name === 'trace') await checkFile('--out', out, force)
  else if (json !== undefined) await checkFile('--json', json, force)
  const onMessage = (line: string): void => console.error(line)
  if (name === 'isa') {
    const measured = await benchIsa({ family: options.family ?? 'navi31', only, quick, onMessage })
    console.log(render(measured))
    for (const path of await writeMeasurement(measured, { json, plots })) console.error(`wrote ${path}`)
    return
  }
  if (name === 'speedrun') {
    console.log(await speedrun({ out, only, minutes: options.minutes, dataDir, adapter, onMessage }))
    return
  }
  if (name === 'memory') return console.log(memoryMarkdown(planMemory()))
  const rounds = options.rounds ?? (quick || name === 'readout' ? 3 : 9)
  const engine = await openWithNote(adapter)
  const origin = originOf(engine, name === 'precision' ? undefined : rounds)
  const shared = { origin, rounds, quick, only, onMessage, save: json === undefined ? undefined : save }
  if (options.tune) tuneByMeasurement(engine)

  if (name === 'trace') {
    console.log(`${out}: ${await writeTrace(engine, out, rounds, only)}`)
    return
  }
  await publish(await measure(name))

  /** Saves what is measured so far, so that a benchmark that is ended keeps it. */
  function save(results: object): Promise<void> {
    return writeResults(json!, { kind: name, origin, partial: true, ...results })
  }

  async function publish(measured: Measurement): Promise<void> {
    // Another process may have measured: the table is read again.
    if (options.tune) tuneByMeasurement(engine)
    const variants = options.tune && { variants: Object.fromEntries(engine.variants) }
    const measurement = { ...measured, results: { ...measured.results, ...variants } }
    console.log(render(measurement))
    for (const path of await writeMeasurement(measurement, { json, plots })) console.error(`wrote ${path}`)
  }

  function measure(name: Exclude<Name, 'trace' | 'isa' | 'memory' | 'gpu' | 'speedrun'>): Promise<Measurement> {
    if (name === 'kernels') return benchKernels({ engine, ...shared })
    if (name === 'losses') return benchLosses({ engine, ...shared })
    if (name === 'readout') return benchReadout({ engine, ...shared })
    if (name === 'step') return benchSteps({ engine, ...shared })
    if (name === 'precision') return benchPrecision({ engine, origin, quick, dataDir, onMessage, save: shared.save })
    if (name === 'smoke') return benchSmoke({ engine, ...shared })
    if (name === 'scale') {
      // The ranks open engines of their own.
      engine.close()
      return benchScale({ origin, rounds, quick, adapter, onMessage })
    }
    // The peers' processes have their own devices and need the whole machine.
    const { adapterClass, f16 } = engine.target
    engine.close()
    return benchPeers({ ...shared, adapterClass, f16, lendRest, peers: options.peers, tune: options.tune ?? false })
  }
})
