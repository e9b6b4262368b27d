/** `npm run pretrain`: pretrains a ResNet; see `--help`. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { tuneByMeasurement, type NodeEngine } from '../../engine/node/index.js'
import { ConfigError, type PretrainConfig } from '../config/config.js'
import type { ImageDataset, Split } from '../data/dataset.js'
import { MissingSplitError } from '../data/registry.js'
import { refuseLargeBatch, trainingImages } from '../feed/batches.js'
import { datasetLoader, loadDataset } from '../node/data/index.js'
import { checkFolder } from '../node/files.js'
import { runFolder } from '../node/run_folder.js'
import { ViewsWriter, writeRunReport } from '../node/run_report.js'
import { describeRecipe, recipeNames } from '../recipes/index.js'
import { exportingStore } from '../report/live_exports.js'
import { counted } from '../report/text.js'
import { VIEWS_FILE } from '../run/folder.js'
import { pretrain } from '../run/pretrain.js'
import { runLength } from '../run/schedule.js'
import { isRoot } from '../ranks/together.js'
import { configOfRank } from '../step/distributed.js'
import { refuseUnfit } from '../step/fit.js'
import { asCommandLine, openWithNote, parseOptions, printable, runCommand, say, sayOn } from './common.js'
import { pretrainDisplay } from './display.js'
import { nextCommands, summaryOf } from './ending.js'
import { epochTime } from './epoch_time.js'
import { abortOnSignal } from './interrupt.js'
import { refuseJobOptions, submitPretraining } from './pretrain_job.js'
import { memoryLimit, pictureDefaults } from './picture_defaults.js'
import { firstOfMachineFirst, withRanks } from './ranks.js'
import {
  pretrainCommand,
  readOptions,
  withoutDefaults,
  type PretrainCliOptions,
  type ReadOptions,
} from './pretrain_options.js'

function listRecipes(): void {
  const names = recipeNames()
  const widest = Math.max(...names.map((name) => name.length))
  for (const name of names) console.log(`${name.padEnd(widest)}  ${describeRecipe(name)}`)
}

/** The limit that ends a run, of the two that it has. */
function limitOf(config: PretrainConfig, images: number): 'steps' | 'epochs' {
  return config.steps !== undefined && config.steps < runLength({ ...config, steps: undefined }, images).steps
    ? 'steps'
    : 'epochs'
}

/** Says which limit ends a run for which the user gives one that has no effect. */
function noteOnLimit({ epochs, steps }: PretrainCliOptions, config: PretrainConfig, images: number): void {
  const limit = limitOf(config, images)
  const unused = limit === 'steps' ? epochs : steps
  if (unused === undefined || config.steps === undefined) return
  const whole = runLength({ ...config, steps: undefined }, images).steps
  console.error(
    limit === 'steps'
      ? `--steps ${config.steps} ends the run: --epochs ${epochs} would be ${counted(whole, 'step')}`
      : `--epochs ${config.epochs} ends the run after ${counted(whole, 'step')}, before --steps ${steps}`,
  )
}

/** Epochs between checkpoints whose weights stay. */
const KEEP_WEIGHTS = 25

/** Opens the engine, and completes the configuration so that its step fits, before anything is loaded. */
async function prepare(
  options: PretrainCliOptions,
  ranks: number,
): Promise<Pick<ReadOptions, 'config' | 'initial'> & { engine: NodeEngine }> {
  const { config: asked, given, initial } = await readOptions(options)
  const loader = await datasetLoader(asked.data)
  // A missing folder is reported before the engine is opened. With `dataDir` nothing is downloaded.
  if (asked.dataDir !== undefined) await loader.locate(asked)
  const pictures = await loader.count?.(loader.pretraining, asked)
  const engine = await openWithNote(options.adapter)
  const chosen = given && pictures !== undefined ? pictureDefaults(given, engine, pictures, loader.side) : undefined
  if (chosen?.note) say(asCommandLine(chosen.note))
  if (chosen && pictures! < FEW_PICTURES && asked.init === undefined) say(noteOnFew(pictures!))
  const config = chosen?.config ?? asked
  if (pictures !== undefined) refuseLargeBatch(config, pictures, config.dataDir!)
  const side = config.resolution ?? loader.side
  configOfRank(config, ranks)
  refuseUnfit({ engine, side, memory: memoryLimit(engine), ranks }, config)
  return { engine, config, initial }
}

/** With fewer pictures a network with random weights learns little. */
const FEW_PICTURES = 1000

const noteOnFew = (pictures: number): string =>
  `${counted(pictures, 'picture')} teach little: use thousands, or start from weights with --init`

/** The images to train on and, for an online readout, the labelled ones. */
async function loadImages(
  options: PretrainCliOptions,
  { data, dataDir, resolution, resize, onlineProbe }: PretrainConfig,
): Promise<{ dataset: ImageDataset; test?: ImageDataset; labelled?: ImageDataset }> {
  const load = (split: Split | 'pretraining'): Promise<ImageDataset> =>
    loadDataset(data, split, { dataDir, resolution, resize })
  const dataset = await load('pretraining').catch((error: unknown) => {
    if (!(error instanceof MissingSplitError) || !options.dataDir || options.data !== undefined) throw error
    throw new ConfigError(`${error.message}; for a folder of pictures give --data folder`)
  })
  if (!onlineProbe) return { dataset }
  return { dataset, test: await load('test'), labelled: dataset.labels.length ? undefined : await load('train') }
}

/** A share in whole millions. */
const millions = (...numbers: [number, number]): [number, number] =>
  numbers.map((n) => Math.round(n / 1e6)) as [number, number]

await runCommand(() =>
  withRanks(async (ranks) => {
    const command = pretrainCommand()
    const options = withoutDefaults(command, parseOptions<PretrainCliOptions>(command))
    if (options.listRecipes) return listRecipes()
    if (options.slurm) return submitPretraining(command, options)
    refuseJobOptions(options)
    if (options.out !== undefined) await checkFolder('--out', options.out)
    for (const name of ['csv', 'tensorboard'] as const)
      if (options[name] && !options.out)
        throw new ConfigError(`--${name}: writes into the folder of the run: give --out`)
    const { engine, config, initial } = await prepare(options, ranks?.size ?? 1)
    const { dataset, test, labelled } = await firstOfMachineFirst(ranks, () => loadImages(options, config))
    const { out, csv, tensorboard } = options
    const store = out && isRoot(ranks) ? exportingStore(runFolder(out), { csv, tensorboard }) : undefined
    if (!out) console.error('nothing will be saved: give --out FOLDER to keep the run')
    const images = trainingImages(dataset, config).length
    noteOnLimit(options, config, images)
    const views = new ViewsWriter(engine, dataset, config)
    const shown = pretrainDisplay()
    const signal = abortOnSignal((line) => shown.message(line))
    const estimate =
      engine.target.adapterClass === 'cpu' ? epochTime(config, images, (line) => shown.message(line)) : undefined
    if (options.tune) tuneByMeasurement(engine, (done, total) => shown.prepare('measuring kernels', done, total))
    try {
      const result = await pretrain({
        engine,
        dataset,
        config,
        initial,
        test,
        labelled,
        out: store,
        collective: ranks,
        resume: options.resume,
        maxMinutes: options.maxMinutes,
        keep: options.keep,
        keepWeights: options.keepWeights ?? KEEP_WEIGHTS,
        debugNan: options.debugNan,
        signal,
        onBegin: (done, steps) => shown.begin(done, steps),
        onStep: (m) => {
          shown.step(m)
          estimate?.(m)
        },
        onCompile: (done, total, of) =>
          of === 'kernels'
            ? shown.prepare('compiling kernels', done, total)
            : shown.prepare('drawing initial weights, in millions', ...millions(done, total)),
        onCheckpoint: async ({ epoch }) => {
          // The checkpoint that ends an epoch shows the views of that epoch.
          if (store) await views.write(store, Math.max(0, epoch - 1))
        },
        onMessage: (line) => shown.message(printable(asCommandLine(line))),
      })
      shown.stop()
      sayOn(process.stdout, summaryOf(result, `--${limitOf(config, images)}`, out))
      if (store && out) {
        if (!existsSync(join(out, VIEWS_FILE))) await views.write(store, result.epochs)
        say(`Curves and pictures: ${await writeRunReport(out)}`)
        const onProcessor = engine.target.adapterClass === 'cpu'
        const next = await nextCommands(result, out, config, dataset, { adapter: options.adapter, onProcessor })
        // Not broken between words, so that a line can be copied.
        console.error(['Next:', ...next.map(printable)].join('\n  '))
      }
    } finally {
      shown.stop()
    }
  }),
)
