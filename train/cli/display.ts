/** Shows the progress of a pretraining run: a bar on a terminal, plain lines elsewhere. */
import { SingleBar } from 'cli-progress'
import { duration, percent } from '../report/text.js'
import type { StepMetrics } from '../run/pretrain.js'

export interface Display {
  /** Progress of the work before the first step. */
  prepare(what: string, done: number, total: number): void
  step(metrics: StepMetrics): void
  /** Prints a line above the bar. */
  say(line: string): void
  stop(): void
}

const MS_BETWEEN_LINES = 10_000
/** The rate is unknown during the first steps: they are read back together and seem to take no time. */
export const STEPS_BEFORE_RATE = 3

export const pretrainDisplay = (): Display => (process.stderr.isTTY ? barDisplay() : lineDisplay())

function barDisplay(): Display {
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
    step(metrics) {
      const payload = { loss: metrics.loss.toPrecision(5), probe: probeOf(metrics), ...speedOf(metrics) }
      if (!started) bar.start(metrics.steps, metrics.step, payload)
      started = true
      bar.update(metrics.step, payload)
    },
    say(line) {
      // The bar has switched line wrapping off. It is drawn again with the next step.
      process.stderr.write(started ? `\r\x1b[K\x1b[?7h${line}\n\x1b[?7l` : `${line}\n`)
    },
    stop() {
      preparing.stop()
      bar.stop()
    },
  }
}

function lineDisplay(): Display {
  const started = performance.now()
  const speedOf = speedometer()
  let last = -Infinity
  const isTime = (): boolean => {
    const now = performance.now()
    if (now - last < MS_BETWEEN_LINES) return false
    last = now
    return true
  }
  return {
    prepare(what, done, total) {
      // Most preparations end before the first line is due.
      if (performance.now() - started > MS_BETWEEN_LINES && isTime()) console.error(`${what}: ${done}/${total}`)
    },
    step(metrics) {
      const { step, steps, epoch, loss } = metrics
      const { rate, left } = speedOf(metrics)
      if (!isTime() && step !== steps) return
      console.error(
        `step ${step}/${steps} · epoch ${epoch} · loss ${loss.toPrecision(5)}${probeOf(metrics)} · ${rate} images/s · ${left} left`,
      )
    },
    say: (line) => console.error(line),
    stop: () => undefined,
  }
}

/** Accuracy on one random view of the training batch, which does not compare with a readout on test images. */
const probeOf = ({ probeTop1 }: StepMetrics): string =>
  probeTop1 === undefined ? '' : ` · probe ${percent(probeTop1, 0)} (batch)`

/** Rate and time left after each step, as text; `…` while they are unknown. */
function speedometer(): (metrics: StepMetrics) => { rate: string; left: string } {
  let seen = 0
  return ({ step, steps, seconds, imagesPerSecond }) => {
    const known = seen++ >= STEPS_BEFORE_RATE
    return {
      rate: known ? imagesPerSecond.toFixed(1) : '…',
      left: known || step === steps ? duration((seconds / step) * (steps - step)) : '…',
    }
  }
}
