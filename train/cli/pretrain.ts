/** `npm run pretrain`: pretrains a ResNet; see `--help`. */
import { tuneByMeasurement } from '../../engine/node/index.js'
import type { ImageDataset, Split } from '../data/dataset.js'
import { loadDataset } from '../node/data/index.js'
import { checkFolder } from '../node/files.js'
import { describeRecipe, recipeNames } from '../node/recipes.js'
import { counted, percent } from '../report/text.js'
import { pretrain } from '../node/pretrain.js'
import type { PretrainResult } from '../run/pretrain.js'
import { asCommandLine, openWithNote, parseOptions, runCommand } from './common.js'
import { pretrainDisplay, STEPS_BEFORE_RATE } from './display.js'
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
  const rate = losses.length > STEPS_BEFORE_RATE ? ` at ${imagesPerSecond.toFixed(1)} images/s` : ''
  const waiting =
    waitSeconds === undefined ? '' : `, ${waitSeconds.toFixed(1)} s of it waiting for images (${percent(waitShare!)})`
  const saved = out ? `; saved in ${out}${stopped === 'done' ? '' : ' (continue with --resume)'}` : ''
  return `${ending}: ${counted(steps, 'step')}, ${counted(epochs, 'epoch')} in ${seconds.toFixed(0)} s${rate}${waiting}${saved}`
}

await runCommand(async () => {
  const command = pretrainCommand()
  const options = withoutDefaults(command, parseOptions<PretrainCliOptions>(command))
  if (options.listRecipes) return listRecipes()
  const config = await configOf(options)
  if (options.out !== undefined) await checkFolder('--out', options.out)
  const { dataDir, resolution } = config
  const dataset = await loadDataset(config.data, 'pretraining', { dataDir, resolution })
  const readOn = (split: Split): Promise<ImageDataset> => loadDataset(config.data, split, { dataDir, resolution })
  const test = config.onlineProbe ? await readOn('test') : undefined
  const labelled = config.onlineProbe && !dataset.labels.length ? await readOn('train') : undefined
  const engine = await openWithNote(options.adapter)
  if (!options.out) console.error('nothing will be saved: give --out FOLDER to keep the run')
  const signal = abortOnSignal()
  const shown = pretrainDisplay()
  if (options.tune) tuneByMeasurement(engine, (done, total) => shown.prepare('measuring kernels', done, total))
  try {
    const result = await pretrain({
      engine,
      dataset,
      config,
      test,
      labelled,
      out: options.out,
      resume: options.resume,
      maxMinutes: options.maxMinutes,
      keep: options.keep,
      signal,
      onStep: (m) => shown.step(m),
      onCompile: (done, total) => shown.prepare('compiling kernels', done, total),
      onMessage: (line) => console.error(asCommandLine(line)),
    })
    shown.stop()
    console.log(summaryOf(result, options.out))
  } finally {
    shown.stop()
  }
})
