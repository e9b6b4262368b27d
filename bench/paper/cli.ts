/** `npm run paper -- EXPERIMENT --scale tiny`: the paper's experiments; see `--help`. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Argument, Command, Option } from 'commander'
import { openWithNote, parseOptions, runCommand, withAdapter } from '../../train/cli/common.js'
import { writeAtomically } from '../../train/files.js'
import { interruptible, progressOf, stoppedCleanly } from '../progress.js'
import { table } from '../report.js'
import { namedSplits } from '../runs.js'
import { scales, type Result, type Scale } from './experiment.js'
import { experiments } from './experiments/index.js'
import { perform } from './perform.js'
import { boundText, intervalText, paperReport, readResults, writeResult } from './report.js'

interface Options {
  scale: Scale
  out?: string
  cache?: string
  adapter?: string
}

const names = experiments.map(({ name }) => name)
const command = withAdapter(
  new Command('paper')
    .description(
      'Run an experiment of the paper and hold its figures against ours. Runs are cached: what is finished is never ' +
        'repeated, and what is interrupted goes on.',
    )
    .addArgument(new Argument('<experiment>', 'which one').choices([...names, 'all']))
    .addOption(
      new Option('--scale <scale>', 'tiny: a processor; small: one consumer GPU; full: the paper’s own protocol')
        .choices(scales)
        .default('tiny'),
    )
    .option('--out <folder>', 'where results, pictures and report.html go (runs/paper-SCALE)')
    .option('--cache <folder>', 'where runs are kept (runs/paper-SCALE/runs)'),
)

function summary({ title, claims, verdict, table: { header, rows } }: Result): string {
  return [
    `## ${title}: ${verdict}`,
    table(header, rows),
    ...claims.map((c) => `${c.statement}: ${intervalText(c)}, expected ${boundText(c.bound)}: ${c.verdict}`),
  ].join('\n\n')
}

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  const [wanted] = command.processedArgs as [string]
  const { scale, out = join('runs', `paper-${scale}`) } = options
  const chosen = experiments.filter(({ name }) => wanted === 'all' || name === wanted)
  await mkdir(out, { recursive: true })
  const engine = await openWithNote(options.adapter)
  const { signal } = interruptible()
  const progress = progressOf()
  await stoppedCleanly(signal, async () => {
    await perform(
      chosen,
      {
        engine,
        scale,
        cache: options.cache ?? join('runs', `paper-${scale}`, 'runs'),
        splits: namedSplits(),
        signal,
        onProgress: (label, what, done, total) => progress.within(label, what, done, total),
        onRun: (label, rows) => progress.begin(label, rows),
        onMessage: (line) => progress.say(line),
      },
      async (result) => {
        progress.end()
        console.log(`${summary(result)}\n`)
        for (const path of await writeResult(out, result)) console.error(`wrote ${path}`)
        // Whatever is there already stands in the page too.
        await writeAtomically(join(out, 'report.html'), await paperReport(await readResults(out, names)))
      },
    )
  })
  progress.end()
  if (!signal.aborted) console.log(`All of it with pictures: ${join(out, 'report.html')}`)
})
