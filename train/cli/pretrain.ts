/** `npm run pretrain`: pretrains a ResNet; see `--help`. */
import { readFile } from 'node:fs/promises'
import { SingleBar } from 'cli-progress'
import { Command } from 'commander'
import { parse } from 'yaml'
import { tuneByMeasurement } from '../../engine/node/index.js'
import { architectures } from '../../models/index.js'
import { openRun } from '../checkpoint.js'
import { ConfigError, resolveConfig, type PartialConfig, type PretrainConfig } from '../config.js'
import { datasetNames, loadDataset } from '../data/dataset.js'
import { pretrain, type StepMetrics } from '../pretrain.js'
import { number, openWithNote, parseOptions, runCommand, withAdapter } from './common.js'

interface Options extends Omit<PartialConfig, 'augmentation' | 'stream'> {
  config?: string
  imageSize?: number
  stream?: boolean
  out?: string
  resume?: boolean
  maxMinutes?: number
  adapter?: string
  tune: boolean
}

const numeric = (flags: string): [string, (text: string) => number] => [flags, number(flags.split(' ')[0])]

const command = withAdapter(
  new Command('pretrain')
    .description('Pretrain a ResNet with multi-view Barlow Twins.')
    .option('--data <name>', `data set: ${datasetNames.join(', ')} (default cifar10)`)
    .option('--data-dir <folder>', 'folder that holds it, in its official format or as pictures (default: the cache)'),
)
for (const [flags, description, parse] of [
  ['--resolution <pixels>', "height and width that a folder's pictures are packed at (160)"],
  ['--fraction <share>', 'share of the training images to pretrain on (1)'],
  ['--arch <name>', `${Object.keys(architectures).join(', ')} (resnet18)`, String],
  ['--width <channels>', 'channels of the first stage (64)'],
  ['--stem <name>', 'cifar or imagenet (cifar)', String],
  ['--image-size <pixels>', 'height and width of a view (32)'],
  ['--bn <mode>', "joint or per-view: whose rows batch-norm's statistics are taken over (joint)", String],
  ['--views <m>', 'views an image, at least 2 (4)'],
  ['--view-chunk <k>', 'views in memory at once, a divisor of --views; needs --bn per-view (all)'],
  ['--projector-dim <d>', 'projector width (256)'],
  ['--lambda <weight>', 'weight of the orthogonality constraint (0.01)'],
  ['--batch <images>', 'images a step (128)'],
  ['--precision <type>', 'f32, or f16: activations in half the memory, where the adapter has it (f32)', String],
  ['--epochs <count>', 'epochs (100)'],
  ['--steps <count>', 'end after so many steps'],
  ['--lr <rate>', "Adam's learning rate (0.001)"],
  ['--weight-decay <rate>', 'added to the gradient (0.000001)'],
  ['--seed <number>', 'of the weights, the order and the views (1)'],
  ['--checkpoint-every <epochs>', 'epochs between checkpoints (5)'],
  ['--max-minutes <minutes>', 'save and stop after so long'],
] as [string, string, ((text: string) => string)?][])
  command.option(flags, description, parse ?? (numeric(flags)[1] as unknown as (text: string) => string))
command
  .option('--fraction-per-class', 'take that share of each class')
  .option('--stream', 'bring the images to the device batch by batch, however few they are')
  .option('--no-zero-init-residual', 'start the blocks at full strength instead of as identities')
  .option('--no-tune', "take the kernels' shipped choice instead of measuring, once for an adapter, which is faster")
  .option('--config <file.yaml>', "options from a file, named as in a run's config.yaml; the command line wins")
  .option('--out <folder>', 'where the run is kept')
  .option('--resume', 'go on with the run in --out, as its config.yaml says; --epochs and --steps may be changed')

/** Fields of the configuration among the command line's options, under the configuration's names. */
function fieldsOf({
  config: _,
  imageSize,
  stream,
  out: _out,
  resume: _resume,
  maxMinutes: _minutes,
  adapter: _adapter,
  tune: _tune,
  ...fields
}: Options): PartialConfig {
  return {
    ...fields,
    ...(stream && { stream: 'always' as const }),
    ...(imageSize === undefined ? {} : { augmentation: { size: imageSize } }),
  }
}

async function configOf(options: Options): Promise<PretrainConfig> {
  const fields = fieldsOf(options)
  if (options.resume) {
    if (!options.out) throw new ConfigError('--resume: name the run with --out')
    const { config } = await openRun(options.out)
    return resolveConfig({
      ...config,
      ...fields,
      augmentation: { ...config.augmentation, ...fields.augmentation },
    })
  }
  let file: PartialConfig = {}
  if (options.config) {
    const text = await readFile(options.config, 'utf8').catch(() => {
      throw new ConfigError(`--config ${options.config}: no such file`)
    })
    file = (parse(text) ?? {}) as PartialConfig
  }
  return resolveConfig({ ...file, ...fields, augmentation: { ...file.augmentation, ...fields.augmentation } })
}

interface Display {
  /** Progress of what comes before the first step. */
  prepare(what: string, done: number, total: number): void
  step(m: StepMetrics): void
  stop(): void
}

/** A bar on a terminal, a line every 10 s elsewhere. */
function display(): Display {
  if (process.stderr.isTTY) {
    const preparing = new SingleBar({
      stream: process.stderr,
      hideCursor: true,
      clearOnComplete: true,
      format: ' {what} {bar} {value}/{total} · {eta_formatted} left',
    })
    const bar = new SingleBar({
      stream: process.stderr,
      hideCursor: true,
      format: ' {bar} {value}/{total} · loss {loss} · {rate} images/s · {left} left',
    })
    let started = false
    return {
      prepare(what, done, total) {
        if (done === 1) preparing.start(total, 0, { what })
        preparing.update(done, { what })
        if (done === total) preparing.stop()
      },
      step(m) {
        const payload = { loss: m.loss.toPrecision(5), rate: m.imagesPerSecond.toFixed(1), left: timeLeft(m) }
        if (!started) bar.start(m.steps, m.step, payload)
        started = true
        bar.update(m.step, payload)
      },
      stop() {
        preparing.stop()
        bar.stop()
      },
    }
  }
  const started = performance.now()
  let last = -Infinity
  const isTime = (): boolean => {
    const now = performance.now()
    if (now - last < 10_000) return false
    last = now
    return true
  }
  return {
    prepare(what, done, total) {
      // Most starts are over before there is anything to say.
      if (performance.now() - started > 10_000 && isTime()) console.error(`${what}: ${done}/${total}`)
    },
    step(m) {
      if (!isTime() && m.step !== m.steps) return
      console.error(
        `step ${m.step}/${m.steps} · epoch ${m.epoch} · loss ${m.loss.toPrecision(5)} · ${m.imagesPerSecond.toFixed(1)} images/s · ${timeLeft(m)} left`,
      )
    },
    stop: () => undefined,
  }
}

function timeLeft({ step, steps, seconds }: StepMetrics): string {
  const left = Math.round((seconds / step) * (steps - step))
  if (step < 2) return '…'
  return left >= 3600
    ? `${Math.floor(left / 3600)} h ${Math.round((left % 3600) / 60)} min`
    : left >= 60
      ? `${Math.floor(left / 60)} min ${left % 60} s`
      : `${left} s`
}

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  // A `--no-…` option counts as given even when it is not: a configuration file or a run to resume has its say first.
  if (command.getOptionValueSource('zeroInitResidual') !== 'cli') delete options.zeroInitResidual
  const config = await configOf(options)
  const { dataDir, resolution } = config
  const dataset = await loadDataset(config.data, 'pretraining', { dataDir, resolution })
  const engine = await openWithNote(options.adapter)
  const abort = new AbortController()
  let asked = 0
  process.on('SIGINT', () => {
    // A wrapper may pass on the signal that a terminal has sent already: only a later one means "at once".
    if (abort.signal.aborted) return Date.now() - asked > 1000 ? process.exit(130) : undefined
    console.error('\nstopping after this step; Ctrl-C again to quit at once')
    asked = Date.now()
    abort.abort()
  })
  process.on('SIGTERM', () => abort.abort())
  const shown = display()
  if (options.tune) tuneByMeasurement(engine, (done, total) => shown.prepare('measuring kernels', done, total))
  try {
    const result = await pretrain({
      engine,
      dataset,
      config,
      out: options.out,
      resume: options.resume,
      maxMinutes: options.maxMinutes,
      signal: abort.signal,
      onStep: (m) => shown.step(m),
      onCompile: (done, total) => shown.prepare('compiling kernels', done, total),
      onMessage: (line) => console.error(line),
    })
    shown.stop()
    const how = { done: 'done', signal: 'stopped by a signal', time: 'stopped at --max-minutes' }[result.stopped]
    console.log(
      `${how}: ${result.steps.toLocaleString('en')} steps, ${result.epochs} epochs in ${result.seconds.toFixed(0)} s at ${result.imagesPerSecond.toFixed(1)} images/s` +
        (options.out ? `; saved in ${options.out}${result.stopped === 'done' ? '' : ' (go on with --resume)'}` : ''),
    )
  } finally {
    shown.stop()
  }
})
