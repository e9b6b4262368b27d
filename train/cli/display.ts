/** Shows the progress of a pretraining run: a status line on a terminal, plain lines elsewhere. */
import { duration, percent } from '../report/text.js'
import type { StepMetrics } from '../run/pretrain.js'
import { lineFitter, statusLine, type LinePart } from './status_line.js'

export interface Display {
  /** Progress of the work before the first step. It stays in sight until something else is shown. */
  prepare(what: string, done: number, total: number): void
  /** The first step is about to run. @param done steps done before this call */
  begin(done: number, steps: number): void
  step(metrics: StepMetrics): void
  /** Prints a line above the progress. */
  message(line: string): void
  stop(): void
}

/** Seconds after which a user may wonder why the first step has not ended. */
const SLOW = 5
const MS_BETWEEN_LINES = 10_000

export const pretrainDisplay = (stream: NodeJS.WriteStream = process.stderr): Display =>
  stream.isTTY ? terminalDisplay(stream) : lineDisplay(stream)

function terminalDisplay(stream: NodeJS.WriteStream): Display {
  const line = statusLine(stream)
  const fitted = lineFitter()
  const partsOf = partsOfSteps()
  let stepped = false
  return {
    prepare(what, done, total) {
      line.show((columns) => fitted(columns, done / total, [{ text: `${what} ${done}/${total}`, keep: Infinity }]))
    },
    begin(done, steps) {
      const begun = performance.now()
      // What has no room here may have room in the lines of steps.
      const fitted = lineFitter()
      line.show((columns) => {
        const seconds = (performance.now() - begun) / 1000
        return fitted(columns, done / steps, [
          { text: running(done, steps), keep: Infinity },
          { text: seconds < 1 ? '' : `${duration(seconds)} so far`, keep: 2 },
          { text: seconds < SLOW ? '' : 'the first step is slow', keep: 1 },
        ])
      })
    },
    step(metrics) {
      stepped = true
      const parts = partsOf(metrics)
      line.show((columns) => fitted(columns, metrics.step / metrics.steps, parts))
    },
    message: (text) => line.print(text),
    stop: () => line.end(stepped ? 'keep' : 'remove'),
  }
}

function lineDisplay(stream: NodeJS.WriteStream): Display {
  const started = performance.now()
  const partsOf = partsOfSteps()
  const print = (line: string): void => void stream.write(`${line}\n`)
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
      if (performance.now() - started > MS_BETWEEN_LINES && isTime()) print(`${what}: ${done}/${total}`)
    },
    begin: (done, steps) => print(running(done, steps)),
    step(metrics) {
      const parts = partsOf(metrics)
      if (isTime() || metrics.step === metrics.steps)
        print(
          parts
            .map(({ text }) => text)
            .filter(Boolean)
            .join(' · '),
        )
    },
    message: print,
    stop: () => undefined,
  }
}

const running = (done: number, steps: number): string => `step ${done + 1} of ${steps} running`

/** Describes each step of one call. The time left is never left out of a line. */
function partsOfSteps(): (metrics: StepMetrics) => LinePart[] {
  let first: StepMetrics | undefined
  return (metrics) => {
    const { step, steps, epoch, loss, lambda, probeTop1, imagesPerSecond } = metrics
    first ??= metrics
    // The first step takes longer than the others on some drivers, so it tells nothing about the time left.
    const known = step > first.step
    const left = known ? (metrics.seconds - first.seconds) * ((steps - step) / (step - first.step)) : Infinity
    return [
      { text: `step ${step}/${steps}`, keep: 6 },
      { text: `epoch ${epoch + 1}`, keep: 1 },
      { text: `loss ${loss.toPrecision(4)}`, keep: 5 },
      { text: lambda === undefined ? '' : `λ ${lambda.toPrecision(3)}`, keep: 2 },
      // Accuracy on one random view of the training batch, which does not compare with a readout on test images.
      { text: probeTop1 === undefined ? '' : `probe ${percent(probeTop1, 0)} (batch)`, keep: 3 },
      { text: `${known ? rate(imagesPerSecond) : '…'} images/s`, keep: 4 },
      { text: `${step === steps ? duration(0) : known ? duration(left) : '…'} left`, keep: Infinity },
    ]
  }
}

/** Two digits, or all before the decimal point. */
export const rate = (imagesPerSecond: number): string =>
  imagesPerSecond >= 10 ? imagesPerSecond.toFixed(0) : imagesPerSecond.toPrecision(2)
