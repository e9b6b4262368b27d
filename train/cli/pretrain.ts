/** `npm run pretrain`: pretrains a ResNet; see `--help`. */
import { SingleBar } from 'cli-progress'
import { tuneByMeasurement } from '../../engine/node/index.js'
import { loadDataset, type ImageDataset, type Split } from '../data/dataset.js'
import type { PretrainResult, StepMetrics } from '../run/pretrain.js'
import { pretrain } from '../node/pretrain.js'
import { describeRecipe, recipeNames } from '../node/recipes.js'
import { counted } from '../report/summary.js'
import { asCommandLine, openWithNote, parseOptions, runCommand } from './common.js'
import { configOf, pretrainCommand, withoutDefaults, type PretrainCliOptions } from './pretrain_options.js'

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
      format: ' {bar} {value}/{total} · loss {loss}{probe} · {rate} images/s · {left} left',
    })
    const speedOf = speedometer()
    let started = false
    return {
      prepare(what, done, total) {
        if (done === 1) preparing.start(total, 0, { what })
        preparing.update(done, { what })
        if (done === total) preparing.stop()
      },
      step(m) {
        const payload = {
          loss: m.loss.toPrecision(5),
          probe: probeOf(m),
          ...speedOf(m),
        }
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
  const speedOf = speedometer()
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
      const { rate, left } = speedOf(m)
      if (!isTime() && m.step !== m.steps) return
      console.error(
        `step ${m.step}/${m.steps} · epoch ${m.epoch} · loss ${m.loss.toPrecision(5)}${probeOf(m)} · ${rate} images/s · ${left} left`,
      )
    },
    stop: () => undefined,
  }
}

/** Of one random view of the images being trained on: not what a readout on test images says. */
const probeOf = ({ probeTop1 }: StepMetrics): string =>
  probeTop1 === undefined ? '' : ` · probe ${(100 * probeTop1).toFixed(0)} % (batch)`

/** Where images stream to the device: how long steps waited for theirs. */
const waitOf = ({ waitSeconds, waitShare }: PretrainResult): string =>
  waitSeconds === undefined
    ? ''
    : `, ${waitSeconds.toFixed(1)} s of it waiting for images (${(100 * waitShare!).toFixed(1)} %)`

/** Steps that a rate is taken over at least: the first ones are read together, and seem to take no time. */
const STEPS_OF_A_RATE = 3

/** What is said of the speed after each step: nothing before it is known. */
function speedometer(): (m: StepMetrics) => { rate: string; left: string } {
  let seen = 0
  return (m) => {
    const known = seen++ >= STEPS_OF_A_RATE
    return {
      rate: known ? m.imagesPerSecond.toFixed(1) : '…',
      left: known || m.step === m.steps ? timeLeft(m) : '…',
    }
  }
}

function timeLeft({ step, steps, seconds }: StepMetrics): string {
  const left = Math.round((seconds / step) * (steps - step))
  return left >= 3600
    ? `${Math.floor(left / 3600)} h ${Math.round((left % 3600) / 60)} min`
    : left >= 60
      ? `${Math.floor(left / 60)} min ${left % 60} s`
      : `${left} s`
}

await runCommand(async () => {
  const command = pretrainCommand()
  const options = withoutDefaults(command, parseOptions<PretrainCliOptions>(command))
  if (options.listRecipes) {
    const names = recipeNames()
    const widest = Math.max(...names.map((name) => name.length))
    for (const name of names) console.log(`${name.padEnd(widest)}  ${describeRecipe(name)}`)
    return
  }
  const config = await configOf(options)
  const { dataDir, resolution } = config
  const dataset = await loadDataset(config.data, 'pretraining', { dataDir, resolution })
  const readOn = (split: Split): Promise<ImageDataset> => loadDataset(config.data, split, { dataDir, resolution })
  const test = config.onlineProbe ? await readOn('test') : undefined
  const labelled = config.onlineProbe && !dataset.labels.length ? await readOn('train') : undefined
  const engine = await openWithNote(options.adapter)
  if (!options.out) console.error('nothing will be saved: give --out FOLDER to keep the run')
  const abort = new AbortController()
  let asked = 0
  process.on('SIGINT', () => {
    // A wrapper may pass on the signal that a terminal has sent already: only a later one means "at once".
    if (abort.signal.aborted) return Date.now() - asked > 1000 ? process.exit(130) : undefined
    console.error('\nstopping after the steps in flight; Ctrl-C again to quit at once')
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
      test,
      labelled,
      out: options.out,
      resume: options.resume,
      maxMinutes: options.maxMinutes,
      signal: abort.signal,
      onStep: (m) => shown.step(m),
      onCompile: (done, total) => shown.prepare('compiling kernels', done, total),
      onMessage: (line) => console.error(asCommandLine(line)),
    })
    shown.stop()
    const how = { done: 'done', signal: 'stopped by a signal', time: 'stopped at --max-minutes' }[result.stopped]
    console.log(
      `${how}: ${counted(result.steps, 'step')}, ${counted(result.epochs, 'epoch')} in ${result.seconds.toFixed(0)} s` +
        (result.losses.length > STEPS_OF_A_RATE ? ` at ${result.imagesPerSecond.toFixed(1)} images/s` : '') +
        waitOf(result) +
        (options.out ? `; saved in ${options.out}${result.stopped === 'done' ? '' : ' (go on with --resume)'}` : ''),
    )
  } finally {
    shown.stop()
  }
})
