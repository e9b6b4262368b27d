/** `npm run sweep -- FILE.yaml`: a grid of pretraining runs with readouts; see `--help`. */
import { basename, extname, join } from 'node:path'
import { Command } from 'commander'
import { openWithNote, parseOptions, runCommand, withAdapter } from '../../train/cli/common.js'
import { abortOnSignal } from '../../train/cli/interrupt.js'
import { checkFolder, writeAtomically } from '../../train/node/files.js'
import { progressOf, stoppedCleanly } from '../runs/progress.js'
import { adaptersOf } from '../runs/cached_runs.js'
import { launchRuns, missingRuns, type Launched } from '../launch/launcher.js'
import { launcherOf, slurmLauncherOf, withLauncher, type LauncherCliOptions } from '../launch/options.js'
import { nextLaunch } from '../launch/records.js'
import { scriptOf } from '../launch/slurm.js'
import { namedSplits, rowsOf, Runs } from '../runs/runs.js'
import { readSweep } from './file.js'
import { performSweep, readingsOf, requestsOf } from './perform.js'
import { sweepPlots, sweepTable } from './report.js'

interface Options extends LauncherCliOptions {
  out?: string
  adapter?: string
}

const command = withLauncher(
  withAdapter(
    new Command('sweep')
      .description(
        'Pretrain and read out every point of a grid. Finished runs are never repeated, interrupted runs continue, and ' +
          'a run that fails does not stop the others.',
      )
      .argument(
        '<file>',
        'YAML: base (a pretraining configuration), grid (option: [values]), seeds, readout (views, seeds, epochs, knn, ' +
          'average, batch, trainPerClass, testPerClass)',
      )
      .option('--out <folder>', 'folder for runs, results.json, table.md and plots (runs/sweeps/NAME)'),
  ),
)

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  const [file] = command.processedArgs as [string]
  const sweep = await readSweep(file)
  const { out = join('runs', 'sweeps', basename(file, extname(file))) } = options
  await checkFolder('--out', out)
  const slurm = await slurmLauncherOf(options)
  const signal = abortOnSignal()
  const progress = progressOf()
  const splits = namedSplits()
  const root = join(out, 'runs')
  const say = (line: string): void => progress.say(line)
  const launch = { name: basename(out), root, folder: join(out, 'launches'), adapter: options.adapter, signal, say }
  const missing = (): Promise<Launched[]> =>
    missingRuns(root, requestsOf(sweep), async (config) => rowsOf(config, (await splits(config)).pretraining.count))
  if (slurm && options.dryRun) {
    const { length } = await missing()
    if (length === 0) throw new Error(`all runs of ${out} are done: there is nothing to submit`)
    return console.log(scriptOf(await nextLaunch(launch.folder), length, slurm, launch))
  }
  const launcher = launcherOf(options, slurm)
  const engine = launcher ? undefined : await openWithNote(options.adapter)
  await stoppedCleanly(signal, async () => {
    const launched = launcher && (await launchRuns(launcher, await missing(), launch))
    const runs = await performSweep(sweep, {
      runs: (onProgress) => launched ?? new Runs({ engine: engine!, root, splits, signal, onProgress, onMessage: say }),
      splits,
      onProgress: (label, what, done, total) => progress.within(label, what, done, total),
      // Launched runs have ended.
      onRun: launched ? undefined : (label, rows) => progress.begin(label, rows),
      onMessage: say,
    })
    progress.end()
    const date = new Date().toISOString()
    const markdown = `${sweepTable(sweep, runs)}\n`
    const { seeds, readout } = sweep
    // Cached runs may come from other adapters than this one.
    const results = { adapters: adaptersOf(readingsOf(runs)), date, seeds, readout, runs }
    const files: Record<string, string> = {
      'table.md': markdown,
      'results.json': `${JSON.stringify(results, null, 1)}\n`,
    }
    const plots = await sweepPlots(sweep, runs, date.slice(0, 10))
    for (const [name, svg] of Object.entries(plots)) files[`${name}.svg`] = svg
    for (const [name, text] of Object.entries(files)) await writeAtomically(join(out, name), text)
    console.log(markdown)
    console.error(
      `wrote ${Object.keys(files)
        .map((name) => join(out, name))
        .join(', ')}`,
    )
  }).finally(() => progress.end())
})
