/** `npm run probe`: reads out a pretrained run and the same network untrained; see `--help`. */
import { basename, join } from 'node:path'
import { Command } from 'commander'
import type { Collective, Engine } from '../../engine/index.js'
import { encodeSafetensors, importStateDict, type Backbone } from '../../models/index.js'
import { ConfigError, type PretrainConfig } from '../config/config.js'
import type { ImageDataset } from '../data/dataset.js'
import { fractionIndicesPerClass, perClassSubset, subset } from '../data/subset.js'
import { diagnose } from '../diagnostics/diagnose.js'
import { datasetLoader, datasetNames, loadDataset } from '../node/data/index.js'
import { checkFile, writeAtomically } from '../node/files.js'
import { readBackbone, readWeights } from '../node/weights.js'
import { estimateFineTuneSeconds, estimateReadoutSeconds, estimateStatisticsSeconds } from '../readout/estimate.js'
import { readCorrupted } from '../readout/corrupted.js'
import { estimateStatistics, typicalStatistics } from '../readout/features.js'
import { FINE_TUNING, fineTune } from '../readout/fine_tune.js'
import type { LinearProbe } from '../readout/linear_probe.js'
import { readout, readoutLike, withStandardErrors, type Accuracies, type ReadoutPhase } from '../readout/readout.js'
import { AVERAGE_FILE, MODEL_FILE, type Progress } from '../run/checkpoint_record.js'
import type { InitialWeights } from '../run/pretrain.js'
import { unusualWeights } from '../run/weights.js'
import { counted, describeViews, duration, formatCount } from '../report/text.js'
import { buildNetwork } from '../step/network.js'
import { chooseCheckpoint } from './choose_checkpoint.js'
import {
  number,
  openWithNote,
  parseOptions,
  runCommand,
  say,
  sayOn,
  wholeNumber,
  withAdapter,
  withForce,
} from './common.js'
import { firstOfMachineFirst, withRanks } from './ranks.js'
import { isRoot } from '../ranks/together.js'
import { commandLine } from './ending.js'
import { extensionOf } from './extension.js'
import { beginPhase, phaseReporter } from './phases.js'
import { accuracyTable, corruptedTable, diagnosticsTable, type Figures, type Row } from './probe_table.js'
import { configOfWeights } from './weights_config.js'

interface Options {
  run?: string
  weights?: string
  untrained: boolean
  checkpoint?: string
  views: number
  seeds: number
  labels: number
  perClass?: number
  probeBatch?: number
  targetViews?: true
  corrupted?: number
  fineTune?: true
  projections?: number
  consistency?: number
  average?: true
  json?: string
  force?: true
  saveHead?: string
  data?: string
  dataDir?: string
  resolution?: number
  resize?: PretrainConfig['resize']
  adapter?: string
}

const command = withForce(
  new Command('probe')
    .description(
      'Read out the newest checkpoint of a run with a linear probe and k nearest neighbours, and do the same with the ' +
        'untrained network. By default all labelled training and test images are used.',
    )
    .option('--run <folder>', 'a folder that `npm run pretrain` wrote with --out')
    .option('--weights <file>', "instead of --run: a safetensors file with torchvision's names")
    .option('--checkpoint <name>', 'checkpoint to read, by its name or its step (the newest)')
    .option(
      '--views <count>',
      'number of views to average per image: the clean view and random views',
      wholeNumber('--views', 1),
      1,
    )
    .option('--seeds <count>', 'number of linear probes to average', wholeNumber('--seeds', 1), 1)
    .option(
      '--labels <share>',
      'share of the labelled training images, taken from each class, such as 0.01',
      number('--labels'),
      1,
    )
    .option(
      '--per-class <count>',
      'quick look: use only this number of images of each class, from the start of both splits (all)',
      wholeNumber('--per-class', 1),
    )
    .option(
      '--probe-batch <images>',
      'images per step of the linear probe (512; as in pretraining for runs with --fidelity research-code)',
      wholeNumber('--probe-batch', 1),
    )
    .option(
      '--target-views',
      'with --data: views at the size and with the normalisation of that data set, as the research code transfers',
    )
    .option(
      '--corrupted <severity>',
      'also read the linear probe on corrupted test images, with a severity from 1 to 5',
      wholeNumber('--corrupted', 1),
    )
    .option('--fine-tune', 'also train the backbone with a classifier, and read it out with one clean view')
    .option(
      '--projections <weight>',
      'with --fine-tune: random linear projections between class probabilities and labels (0)',
      number('--projections'),
    )
    .option(
      '--consistency <weight>',
      'with --fine-tune: consistency of each image with a second view that has all augmentations (0)',
      number('--consistency'),
    )
    .option('--no-untrained', 'do not read out the untrained network')
    .option('--average', 'read the moving average of the weights, which runs with --ema-rate keep')
    .option('--json <file>', 'JSON file to write the figures to')
    .option(
      '--save-head <file>',
      "safetensors file to write the run's linear probe to (seed 1), as `fc.weight` [classes, D] and `fc.bias`",
    )
    .option('--data <name>', `data set to read out: ${datasetNames.join(', ')} (as in the run)`)
    .option('--data-dir <folder>', 'folder that holds the data set (as in the run)')
    .option(
      '--resolution <pixels>',
      'height and width at which the pictures of a folder are packed (as in the run, or 160)',
      number('--resolution'),
    )
    .option(
      '--resize <filter>',
      'how the pictures of a folder are resized: lanczos, bilinear or whole (as in the run)',
    ),
  '--json or --save-head',
)
withAdapter(command)

/** Seed of the choice of labelled images: every probe of every run uses the same ones. */
const LABELS_SEED = 1
const KS = [20, 200]

function checkOptions({ labels, perClass, corrupted, fineTune: tunes, projections, consistency }: Options): void {
  for (const [name, weight] of Object.entries({ projections, consistency })) {
    if (weight === undefined) continue
    if (!(weight >= 0)) throw new ConfigError(`--${name} ${weight}: must be at least 0`)
    if (!tunes) throw new ConfigError(`--${name} ${weight}: is a term of fine-tuning; add --fine-tune`)
  }
  if (corrupted !== undefined && corrupted > 5)
    throw new ConfigError(`--corrupted ${corrupted}: must be a whole number from 1 to 5`)
  if (!(labels > 0 && labels <= 1)) throw new ConfigError(`--labels ${labels}: must be more than 0 and at most 1`)
  if (perClass !== undefined && labels < 1)
    throw new ConfigError(`--per-class ${perClass}: already chooses the labelled images; leave --labels out`)
}

interface Images {
  data: string
  train: ImageDataset
  test: ImageDataset
  /** The images for the statistics of the untrained backbone: all training images, or those of --per-class. */
  typical: ImageDataset
}

async function loadImages(options: Options, config: PretrainConfig): Promise<Images> {
  const { data = config.data, labels, perClass } = options
  const own: Pick<PretrainConfig, 'dataDir' | 'resolution' | 'resize'> = data === config.data ? config : {}
  const { dataDir = own.dataDir, resolution = own.resolution, resize = own.resize } = options
  const of = { dataDir, resolution, resize }
  if (data === 'folder') await refuseUnlabelled(options, dataDir)
  const all = await loadDataset(data, 'train', of)
  const first = perClassSubset(all, perClass)
  const train = labels < 1 ? subset(all, fractionIndicesPerClass(all.labels, labels, LABELS_SEED)) : first
  const test = perClassSubset(await loadDataset(data, 'test', of), perClass)
  return { data, train, test, typical: first }
}

/** Refuses a folder without labelled pictures in both splits, before any picture is decoded. */
async function refuseUnlabelled({ run, weights }: Options, dataDir?: string): Promise<void> {
  const { labelled } = await datasetLoader('folder')
  if (dataDir === undefined || (await labelled!({ dataDir }))) return
  const source = run === undefined ? ['--weights', weights!] : ['--run', run]
  const embed = commandLine(
    'embed',
    ...source,
    '--data',
    'folder',
    '--data-dir',
    dataDir,
    '--out',
    'features.safetensors',
  )
  throw new ConfigError(
    `${dataDir}: a probe needs labels: put pictures to train on into train/CLASS/ and others to test on into val/CLASS/; features need no labels: ${embed}`,
  )
}

/** Reads out the pretrained and the untrained backbone of a run. */
class Probe {
  /** The linear probe of the first seed of each backbone. */
  readonly probes = new Map<Backbone, LinearProbe>()
  private readonly classes: number
  private readonly how

  constructor(
    private readonly engine: Engine,
    private readonly config: PretrainConfig,
    private readonly images: Images,
    private readonly options: Options,
    private readonly collective?: Collective,
  ) {
    this.classes = Math.max(images.train.classes.length, images.test.classes.length)
    const seeds = Array.from({ length: options.seeds }, (_, i) => i + 1)
    const { probeBatch: batch, targetViews } = options
    const like = readoutLike(config, images.data, { batch, targetViews })
    this.how = { ...like, views: options.views, seeds, ks: KS }
  }

  private get fineTuning() {
    const { batch, views } = this.config
    const { recipe } = this.how
    // At most as many rows per step as in pretraining, so that memory is enough.
    return { recipe, classes: this.classes, seed: 1, batch: Math.min(FINE_TUNING.batch, batch * views) }
  }

  /** Estimates the seconds that all readouts take. */
  async estimateSeconds(backbone: Backbone): Promise<number> {
    const { engine } = this
    const { train, test, typical } = this.images
    let each = await estimateReadoutSeconds(engine, backbone, train, test, this.how)
    if (this.options.fineTune)
      each += await this.withCopy((copy) => estimateFineTuneSeconds(engine, copy, train, test, this.fineTuning))
    if (!this.options.untrained) return each
    const statistics = typicalStatistics(this.config)
    return 2 * each + (await this.withCopy((copy) => estimateStatisticsSeconds(engine, copy, typical, statistics)))
  }

  private async withCopy<T>(work: (copy: Backbone) => Promise<T>): Promise<T> {
    const { backbone } = buildNetwork(this.config)
    try {
      return await work(backbone)
    } finally {
      for (const variable of backbone.dict.variables) this.engine.release(variable)
    }
  }

  /** The network with random weights, and with running statistics. */
  async untrained(): Promise<Backbone> {
    const { backbone } = buildNetwork(this.config)
    const phase = beginPhase('untrained: statistics')
    const onProgress = (done: number, total: number): void => phase.update(done, total)
    const options = { ...typicalStatistics(this.config), onProgress }
    await estimateStatistics(this.engine, backbone, this.images.typical, options)
    phase.finish()
    return backbone
  }

  /** All figures of one backbone. Fine-tuning comes last because it changes the weights. */
  async read(backbone: Backbone, name: string): Promise<Figures> {
    const { engine, config } = this
    const { train, test } = this.images
    const phases = phaseReporter<ReadoutPhase>(name)
    const onProbes = (probes: readonly LinearProbe[]): void => void this.probes.set(backbone, probes[0])
    const result = await readout(engine, backbone, train, test, {
      ...this.how,
      collective: this.collective,
      onProbes,
      onProgress: phases.onProgress,
    })
    phases.finish()
    const { knn, ...figures } = result
    const [knn20, knn200] = knn.map(({ k: _, ...accuracies }) => accuracies)
    const { objective } = config
    const { recipe } = this.how
    const diagnostics = await diagnose(engine, backbone, test, { recipe, seed: 1, objective })
    const severity = this.options.corrupted
    const corrupted =
      severity !== undefined &&
      (await readCorrupted(engine, backbone, test, this.probes.get(backbone)!, { recipe, severity }))
    const tuned = this.options.fineTune && (await this.fineTune(backbone, name))
    return { ...figures, knn20, knn200, diagnostics, ...(corrupted && { corrupted }), ...(tuned && { tuned }) }
  }

  private async fineTune(backbone: Backbone, name: string): Promise<Accuracies> {
    const { train, test } = this.images
    const phase = beginPhase(`${name}: fine-tuning`)
    const result = await fineTune(this.engine, backbone, train, test, {
      ...this.fineTuning,
      ...{ projections: this.options.projections, consistency: this.options.consistency },
      onProgress: (done, total, loss) => phase.update(done, total, `loss ${loss.toPrecision(4)}`),
    })
    phase.finish()
    return withStandardErrors(result, test.count)
  }
}

/** `1 %`, `12.5 %`: as many digits as the option has. */
const exactPercent = (share: number): string => `${Number((100 * share).toPrecision(6))} %`

/** What is read out. */
interface Subject extends InitialWeights {
  /** Names its row in the tables. */
  name: string
  config: PretrainConfig
  /** Where its run stood, if it has one. */
  progress?: Progress
}

async function chooseSubject({ run, weights, checkpoint: wanted, average, data }: Options): Promise<Subject> {
  if ((run === undefined) === (weights === undefined))
    throw new ConfigError('--run or --weights: give exactly one of them')
  if (run === undefined) {
    if (wanted !== undefined) throw new ConfigError(`--checkpoint ${wanted}: needs --run`)
    if (average) throw new ConfigError('--average: needs --run')
    const { info, ...read } = await readBackbone(weights!)
    return { ...read, name: basename(read.source), config: configOfWeights(info, { data }) }
  }
  const { config: trained, checkpoint } = await chooseCheckpoint(run, wanted)
  if (average && trained.emaRate === undefined)
    throw new ConfigError(`--average: the run in ${run} keeps no moving average; pretrain with --ema-rate`)
  const source = join(checkpoint.folder, average ? AVERAGE_FILE : MODEL_FILE)
  const { tensors } = await readWeights(source)
  const name = `step ${checkpoint.step}${average ? ', average' : ''}`
  // Fine-tuning trains the stages too that pretraining kept frozen.
  return { tensors, source, name, config: { ...trained, freezeStages: undefined }, progress: checkpoint }
}

/** One line on what is read, and how long it takes. */
function announcement(
  { config, name, progress }: Subject,
  { train, test }: Images,
  { labels, perClass, views }: Options,
  seconds: number,
): string {
  const which =
    labels < 1
      ? ` (${exactPercent(labels)} of the labels)`
      : perClass === undefined
        ? ''
        : ` (the first ${perClass} of each class)`
  return (
    `${config.arch} of width ${config.width} ${progress ? 'at' : 'from'} ${name}: ${formatCount(train.count)} training${which} and ` +
    `${formatCount(test.count)} test images of ${test.name}, ${describeViews(views)} each. ` +
    `This takes about ${duration(Math.max(1, seconds))}.`
  )
}

/** Lines that limit what the figures compare with. */
function caveats(
  { data, train, test }: Images,
  { labels, perClass, untrained }: Options,
  { config, progress }: Subject,
): string[] {
  const lines: string[] = []
  if (perClass !== undefined)
    lines.push(
      `Only the first ${counted(perClass, 'image')} of each class, ${formatCount(train.count)} for training and ` +
        `${formatCount(test.count)} for testing: these figures do not compare with figures on all images.`,
    )
  if (labels < 1 || (progress && data !== config.data))
    lines.push(
      `Labels: ${formatCount(train.count)} training images of ${data}` +
        `${labels < 1 ? `, ${exactPercent(labels)} of each class` : ''}.${progress ? ` Pretrained on ${config.data}.` : ''}`,
    )
  const most = Math.max(...KS)
  if (train.count < most) lines.push(`kNN-${most} votes with all ${formatCount(train.count)} training images.`)
  if (untrained && config.init !== undefined)
    lines.push(`The untrained network has random weights; the run began with those of ${config.init}.`)
  return lines
}

/** Reads out both networks; the untrained one comes second. */
async function readRows(probe: Probe, backbone: Backbone, { name }: Subject, { untrained }: Options): Promise<Row[]> {
  const rows = [{ name, figures: await probe.read(backbone, 'pretrained') }]
  if (untrained) rows.push({ name: 'untrained', figures: await probe.read(await probe.untrained(), 'untrained') })
  return rows
}

/** A linear probe in PyTorch's layout, as a safetensors file. */
function encodeHead({ weight, bias }: LinearProbe, { classes }: ImageDataset): Uint8Array {
  const [to, from] = [bias.length, weight.length / bias.length]
  const turned = Float32Array.from({ length: weight.length }, (_, i) => weight[(i % from) * to + Math.floor(i / from)])
  return encodeSafetensors(
    {
      'fc.weight': { dtype: 'F32', shape: [to, from], data: turned },
      'fc.bias': { dtype: 'F32', shape: [to], data: bias },
    },
    { classes: JSON.stringify(classes) },
  )
}

await runCommand(() =>
  withRanks(async (ranks) => {
    const options = parseOptions<Options>(command)
    checkOptions(options)
    if (options.json !== undefined) await checkFile('--json', options.json, options.force)
    if (options.saveHead !== undefined) {
      extensionOf('--save-head', options.saveHead, ['.safetensors'])
      await checkFile('--save-head', options.saveHead, options.force)
    }
    const subject = await chooseSubject(options)
    const { config, progress } = subject
    const images = await firstOfMachineFirst(ranks, () => loadImages(options, config))
    const engine = await openWithNote(options.adapter)
    const { backbone } = buildNetwork(config)
    importStateDict(engine, backbone.dict, subject.tensors, subject.source)
    const unusual = unusualWeights(backbone.dict, subject)
    if (unusual) console.error(unusual)

    const probe = new Probe(engine, config, images, options, ranks)
    say(announcement(subject, images, options, await probe.estimateSeconds(backbone)))
    const begun = performance.now()
    const rows = await readRows(probe, backbone, subject, options)
    const print = (text: string): void => sayOn(process.stdout, text)
    print(accuracyTable(rows))
    if (options.corrupted !== undefined) print(`\n${corruptedTable(rows, options.corrupted)}`)
    for (const line of caveats(images, options, subject)) print(line)
    print(`\n${diagnosticsTable(rows, backbone.features)}`)
    if (!isRoot(ranks)) return
    if (options.saveHead) await writeAtomically(options.saveHead, encodeHead(probe.probes.get(backbone)!, images.train))
    if (!options.json) return
    const { arch, width, stem, augmentation } = config
    const figures = {
      ...(progress
        ? { run: options.run, step: progress.step, epoch: progress.epoch, pretrainedOn: config.data }
        : { file: subject.source }),
      network: { arch, width, stem, imageSize: augmentation.size },
      data: images.data,
      weights: options.average ? 'average' : 'model',
      labels: options.labels,
      ...(options.perClass !== undefined && { perClass: options.perClass }),
      views: options.views,
      seeds: Array.from({ length: options.seeds }, (_, i) => i + 1),
      adapter: engine.description,
      date: new Date().toISOString(),
      seconds: (performance.now() - begun) / 1000,
      pretrained: rows[0].figures,
      ...(options.untrained && { untrained: rows[1].figures }),
    }
    await writeAtomically(options.json, `${JSON.stringify(figures, null, 2)}\n`)
  }),
)
