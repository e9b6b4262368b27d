/** `npm run pretrain`: pretrains a ResNet; see `--help`. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { tuneByMeasurement } from '../../engine/node/index.js'
import { ConfigError } from '../config/config.js'
import type { ImageDataset, Split } from '../data/dataset.js'
import { loadDataset } from '../node/data/index.js'
import { runFolder } from '../node/run_folder.js'
import { writeRunReport, writeViews } from '../node/run_report.js'
import { describeRecipe, recipeNames } from '../node/recipes.js'
import { exportingStore } from '../report/live_exports.js'
import { counted, duration, percent } from '../report/text.js'
import { VIEWS_FILE } from '../run/folder.js'
import { pretrain, type PretrainResult } from '../run/pretrain.js'
import { asCommandLine, openWithNote, parseOptions, runCommand } from './common.js'
import { pretrainDisplay, rate } from './display.js'
import { abortOnSignal } from './interrupt.js'
import { configOf, pretrainCommand, withoutDefaults, type PretrainCliOptions } from './pretrain_options.js'

function listRecipes(): void {
  const names = recipeNames()
  const widest = Math.max(...names.map((name) => name.length))
  for (const name of names) console.log(`${name.padEnd(widest)}  ${describeRecipe(name)}`)
}

/** One line on how the run ended. */
function summaryOf(result: PretrainResult, out: string | undefined): string {
  const { stopped, steps, epochs, seconds, losses, imagesPerSecond, waitSeconds, waitShare } = result
  const ending = { done: 'done', signal: 'stopped by a signal', time: 'stopped at --max-minutes' }[stopped]
  const speed = losses.length > 1 ? ` at ${rate(imagesPerSecond)} images/s` : ''
  const waiting =
    waitSeconds === undefined ? '' : `, ${waitSeconds.toFixed(1)} s of it waiting for images (${percent(waitShare!)})`
  const saved = out ? `; saved in ${out}${stopped === 'done' ? '' : ' (continue with --resume)'}` : ''
  return `${ending}: ${counted(steps, 'step')}, ${counted(epochs, 'epoch')} in ${duration(seconds)}${speed}${waiting}${saved}`
}

await runCommand(async () => {
  const command = pretrainCommand()
  const options = withoutDefaults(command, parseOptions<PretrainCliOptions>(command))
  if (options.listRecipes) return listRecipes()
  for (const name of ['csv', 'tensorboard'] as const)
    if (options[name] && !options.out) throw new ConfigError(`--${name}: writes into the folder of the run: give --out`)
  const config = await configOf(options)
  const { dataDir, resolution } = config
  const dataset = await loadDataset(config.data, 'pretraining', { dataDir, resolution })
  const readOn = (split: Split): Promise<ImageDataset> => loadDataset(config.data, split, { dataDir, resolution })
  const test = config.onlineProbe ? await readOn('test') : undefined
  const labelled = config.onlineProbe && !dataset.labels.length ? await readOn('train') : undefined
  const engine = await openWithNote(options.adapter)
  const { out, csv, tensorboard } = options
  const store = out ? exportingStore(runFolder(out), { csv, tensorboard }) : undefined
  if (!out) console.error('nothing will be saved: give --out FOLDER to keep the run')
  const shown = pretrainDisplay()
  const signal = abortOnSignal((line) => shown.message(line))
  if (options.tune) tuneByMeasurement(engine, (done, total) => shown.prepare('measuring kernels', done, total))
  try {
    const result = await pretrain({
      engine,
      dataset,
      config,
      test,
      labelled,
      out: store,
      resume: options.resume,
      maxMinutes: options.maxMinutes,
      signal,
      onBegin: (done, steps) => shown.begin(done, steps),
      onStep: (m) => shown.step(m),
      onCompile: (done, total) => shown.prepare('compiling kernels', done, total),
      onCheckpoint: async ({ epoch }) => {
        // The checkpoint that ends an epoch shows the views of that epoch.
        if (store) await writeViews(store, engine, dataset, config, Math.max(0, epoch - 1))
      },
      onMessage: (line) => shown.message(asCommandLine(line)),
    })
    shown.stop()
    console.log(summaryOf(result, out))
    if (store && out) {
      if (!existsSync(join(out, VIEWS_FILE))) await writeViews(store, engine, dataset, config, result.epochs)
      console.error(`Curves and pictures: ${await writeRunReport(out)}`)
    }
  } finally {
    shown.stop()
  }
})
