/** `npm run bench -- BENCHMARK`: measures the engine on this machine; see `--help`. */
import { existsSync } from 'node:fs'
import { Argument, Command, Option } from 'commander'
import { openWithNote, parseOptions, runCommand, wholeNumber, withAdapter } from '../../train/cli/common.js'
import { ConfigError } from '../../train/config/config.js'
import { tuneByMeasurement } from '../../engine/node/index.js'
import { checkFile } from '../../train/node/files.js'
import { originOf } from '../report/origin.js'
import { families, type Family } from './isa/compiler.js'
import { benchIsa } from './isa/isa.js'
import { benchKernels } from './kernels.js'
import { benchLosses } from './losses.js'
import { render, writeMeasurement, type Measurement } from './measurement.js'
import { benchPeers } from './peers.js'
import { benchPrecision } from './precision.js'
import { benchReadout } from './readout.js'
import { speedrun } from './speedrun.js'
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
  minutes?: number
  adapter?: string
}

const MEASURE = ['json', 'plots', 'force', 'only', 'rounds', 'quick', 'tune'] as const satisfies (keyof Options)[]

/** What each benchmark measures, and the options it takes beside --adapter. */
const BENCHMARKS = {
  peers: {
    says: 'the same work on this engine, tfjs, jax-js and PyTorch',
    takes: [...MEASURE, 'lendRest'],
  },
  kernels: { says: "each kernel relative to the adapter's ceilings", takes: MEASURE },
  step: { says: 'whole steps: images/s, time by kernel, memory, first step', takes: MEASURE },
  losses: { says: 'each objective by number of views and projector width', takes: MEASURE },
  readout: { says: "the paper's linear probe and kNN at the size of CIFAR-10", takes: MEASURE },
  precision: { says: 'losses of training in f16 and in f32 on CIFAR-10', takes: ['json', 'force', 'quick', 'dataDir'] },
  isa: {
    says: "every pipeline as a GPU's compiler sees it; needs no GPU",
    takes: ['json', 'force', 'only', 'quick', 'family'],
  },
  speedrun: {
    says: 'CIFAR-10 in 15 minutes on this machine: each objective, then the best of them on the test images',
    takes: ['out', 'only', 'minutes', 'dataDir'],
  },
  trace: { says: 'one step as a file for chrome://tracing', takes: ['out', 'force', 'rounds', 'tune'] },
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
      '--out <file>',
      'trace: the file to write (trace.json); speedrun: the folder of its readings (runs/speedrun)',
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
    .option('--minutes <count>', 'speedrun: minutes of a run (15)', wholeNumber('--minutes', 1))
    .option(
      '--data-dir <folder>',
      'precision and speedrun: CIFAR-10 in its official format (default: fetched into the cache)',
    )
    .addOption(new Option('--family <name>', 'isa: the AMD GPU to compile for (navi31)').choices(families))
    .option('--tune', 'measure the variants of each product first, as pretraining does; the JSON file holds the table')
    .option('--quick', 'fewer cases and rounds: 3 to 5 minutes on a CPU driver')
    .addHelpText(
      'after',
      ['', 'Benchmarks:', ...names.map((name) => `  ${name.padEnd(10)} ${BENCHMARKS[name].says}`)].join('\n'),
    ),
)

const flagOf = (option: string): string => `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

/** @throws ConfigError if an option is given that the benchmark does not take */
function checkOptions(name: Name, { adapter: _, ...given }: Options): void {
  const takes: readonly string[] = BENCHMARKS[name].takes
  const wrong = Object.keys(given).find((option) => !takes.includes(option))
  const list = takes
    .map(flagOf)
    .join(', ')
    .replace(/, (\S+)$/, ' and $1')
  if (wrong !== undefined) throw new ConfigError(`${flagOf(wrong)} is not for ${name}: it takes ${list}`)
}

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  const [name] = command.processedArgs as [Name]
  checkOptions(name, options)
  const onlyInClones = { peers: 'peers/pytorch.py', isa: 'isa/null_gpu.c' } as Partial<Record<Name, string>>
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
  const rounds = options.rounds ?? (quick || name === 'readout' ? 3 : 9)
  const engine = await openWithNote(adapter)
  const origin = originOf(engine, name === 'precision' ? undefined : rounds)
  if (options.tune) tuneByMeasurement(engine)
  const shared = { origin, rounds, quick, only, onMessage }

  if (name === 'trace') {
    console.log(`${out}: ${await writeTrace(engine, out, rounds)}`)
    return
  }
  await publish(await measure(name))

  async function publish(measured: Measurement): Promise<void> {
    // Another process may have measured: the table is read again.
    if (options.tune) tuneByMeasurement(engine)
    const variants = options.tune && { variants: Object.fromEntries(engine.variants) }
    const measurement = { ...measured, results: { ...measured.results, ...variants } }
    console.log(render(measurement))
    for (const path of await writeMeasurement(measurement, { json, plots })) console.error(`wrote ${path}`)
  }

  function measure(name: Exclude<Name, 'trace' | 'isa' | 'speedrun'>): Promise<Measurement> {
    if (name === 'kernels') return benchKernels({ engine, ...shared })
    if (name === 'losses') return benchLosses({ engine, ...shared })
    if (name === 'readout') return benchReadout({ engine, ...shared })
    if (name === 'step') return benchSteps({ engine, ...shared })
    if (name === 'precision') return benchPrecision({ engine, origin, quick, dataDir, onMessage })
    // The peers' processes have their own devices and need the whole machine.
    const { adapterClass, f16 } = engine.target
    engine.close()
    return benchPeers({ ...shared, adapterClass, f16, lendRest, tune: options.tune ?? false })
  }
})
