/** `npm run paper -- EXPERIMENT`: the paper's experiments; see `--help`. */
import { markdownTable } from '../../train/report/text.js'
import { join } from 'node:path'
import { Argument, Command, Option } from 'commander'
import { tuneByMeasurement } from '../../engine/node/index.js'
import { openWithNote, parseOptions, runCommand, withAdapter } from '../../train/cli/common.js'
import { abortOnSignal } from '../../train/cli/interrupt.js'
import { ConfigError } from '../../train/config/config.js'
import { checkFolder, writeAtomically } from '../../train/node/files.js'
import { keepEnded, launchRuns, missingRuns, type Launched } from '../launch/launcher.js'
import { launcherOf, slurmLauncherOf, withLauncher, type LauncherCliOptions } from '../launch/options.js'
import { nextLaunch } from '../launch/records.js'
import { scriptOf } from '../launch/slurm.js'
import { CachedRuns } from '../runs/cached_runs.js'
import { KeptReadings } from '../runs/kept.js'
import { progressOf, stoppedCleanly } from '../runs/progress.js'
import { namedSplits, rowsOf } from '../runs/runs.js'
import { boundText, intervalText } from './claims.js'
import { datasets, scales, type Dataset, type Result, type Scale, type Setup } from './experiment.js'
import { experiments, experimentsFor } from './experiments/index.js'
import { perform, requestsOf } from './perform.js'
import { paperPage } from './page.js'
import { powerTable } from './power.js'
import { ranksTable } from './ranks.js'
import { figuresTable, readResults, writeResult } from './results.js'

interface Options extends LauncherCliOptions {
  scale: Scale
  dataset: Dataset
  dataDir?: string
  out?: string
  cache?: string
  readings?: string
  soFar?: boolean
  tune?: true
  adapter?: string
}

const names = experiments.map(({ name }) => name)
const command = withLauncher(
  withAdapter(
    new Command('paper')
      .description(
        'Run an experiment of the paper and compare its claims with our results. Runs are cached: finished runs are ' +
          'never repeated, interrupted runs continue.',
      )
      .addArgument(
        new Argument(
          '<experiment>',
          'which experiment; power: how many seeds the claims of the results in --out need; ranks: how RankMe, LiDAR and α ' +
            'of the runs in --readings correlate with the probe',
        ).choices([...names, 'kernel', 'all', 'power', 'ranks']),
      )
      .addOption(
        new Option('--scale <scale>', 'tiny: for a processor; small: for one consumer GPU; full: the paper’s protocol')
          .choices(scales)
          .default('tiny'),
      )
      .addOption(
        new Option('--dataset <name>', 'data set to pretrain on; all but cifar10 need --scale full')
          .choices(datasets)
          .default('cifar10'),
      )
      .option('--data-dir <folder>', 'folder of the data set; for imagenet100 a folder with train/ and val/')
      .option(
        '--out <folder>',
        'folder for results, plots and report.html (runs/paper-SCALE; other data sets: runs/paper-SCALE-DATASET)',
      )
      .option('--cache <folder>', 'folder for the cached runs (runs/ in the default folder of --out)')
      .option(
        '--readings <file>',
        'file with the readings of finished runs, which are not made again; new readings are added to it, so that another ' +
          'machine can go on',
      )
      .option('--so-far', 'make no runs: write the results of the experiments whose runs are all there')
      .option('--tune', 'measure the variants of each product first; each run keeps the table'),
  ),
)

function summary(result: Result): string {
  const { title, claims, verdict, figures, seeds } = result
  return [
    `## ${title}: ${verdict}`,
    ...[result.table, ...(figures.length ? [figuresTable(result)] : [])].map(({ header, rows }) =>
      markdownTable(header, rows),
    ),
    ...claims.map((c) => `${c.statement}: ${intervalText(c, seeds)}, expected ${boundText(c.bound)}: ${c.verdict}`),
  ].join('\n\n')
}

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  const [wanted] = command.processedArgs as [string]
  const { scale, dataset, dataDir } = options
  const setup: Setup = { scale, dataset, dataDir }
  const folder = join('runs', ['paper', scale, ...(dataset === 'cifar10' ? [] : [dataset])].join('-'))
  const { out = folder, cache = join(folder, 'runs'), readings, soFar } = options
  if (wanted === 'power') {
    const { header, rows } = powerTable(await readResults(out, names))
    console.log(markdownTable(header, rows))
    return
  }
  if (wanted === 'ranks') {
    if (readings === undefined) throw new ConfigError('ranks: name the file of the runs with --readings')
    const { header, rows } = ranksTable((await KeptReadings.open(readings)).finished())
    console.log(markdownTable(header, rows))
    return
  }
  const chosen = experimentsFor(wanted, setup)
  await checkFolder('--out', out)
  const kept = readings === undefined ? undefined : await KeptReadings.open(readings)
  const slurm = await slurmLauncherOf(options)
  const launcher = launcherOf(options, slurm)
  for (const name of ['soFar', 'tune'] as const)
    if (launcher && options[name]) throw new ConfigError(`\`${name}\`: cannot be combined with \`launcher\``)
  const signal = abortOnSignal()
  const progress = progressOf()
  const splits = namedSplits()
  const launch = {
    ...{ name: wanted, root: cache, folder: join(out, 'launches'), adapter: options.adapter, kept, signal },
    say: (line: string): void => progress.say(line),
  }
  const missing = (): Promise<Launched[]> =>
    missingRuns(
      cache,
      requestsOf(chosen, setup),
      async (config) => rowsOf(config, (await splits(config)).pretraining.count),
      kept,
    )
  if (slurm && options.dryRun) {
    const { length } = await missing()
    if (length === 0) throw new Error(`all runs of ${wanted} are done: there is nothing to submit`)
    return console.log(scriptOf(await nextLaunch(launch.folder), length, slurm, launch))
  }
  const engine = await openWithNote(options.adapter)
  if (options.tune) tuneByMeasurement(engine)
  await stoppedCleanly(signal, async () => {
    // Runs of an earlier launch may have ended since.
    if (launcher && kept) await keepEnded(new CachedRuns(cache, undefined, kept), requestsOf(chosen, setup))
    const launched = launcher && (await launchRuns(launcher, await missing(), launch))
    await perform(
      chosen,
      {
        ...setup,
        engine,
        cache,
        kept,
        soFar,
        launched,
        splits,
        signal,
        onProgress: (label, what, done, total) => progress.within(label, what, done, total),
        onRun: (label, rows) => progress.begin(label, rows),
        onMessage: (line) => progress.say(line),
      },
      async (result) => {
        progress.end()
        console.log(`${summary(result)}\n`)
        for (const path of await writeResult(out, result)) console.error(`wrote ${path}`)
        // The page shows all results of the folder, earlier ones too.
        await writeAtomically(join(out, 'report.html'), await paperPage(await readResults(out, names)))
      },
    )
  })
  progress.end()
  if (!signal.aborted) console.log(`All results with plots: ${join(out, 'report.html')}`)
})
