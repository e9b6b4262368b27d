/** Shows long phases of work on stderr: a bar with the time left, or plain lines where stderr is no terminal. */
import { duration } from '../report/text.js'
import { lineFitter, statusLine } from './status_line.js'

const SECONDS_BETWEEN_LINES = 5
const LABEL_CELLS = 31

export interface Phase {
  /** @param note further text, such as the loss */
  update(done: number, total: number, note?: string): void
  /** Ends the phase with one line that says how long it took. */
  finish(): void
}

/** @param stream stderr by default, so that stdout holds only results */
export function beginPhase(label: string, stream: NodeJS.WriteStream = process.stderr): Phase {
  const begun = performance.now()
  const title = label.padEnd(LABEL_CELLS)
  const elapsed = (): number => (performance.now() - begun) / 1000
  // The time left follows from what is done after the first update: what comes before it, such as compilation, comes once.
  let first: { done: number; elapsed: number } | undefined
  const left = (done: number, total: number): string => {
    first ??= { done, elapsed: elapsed() }
    if (done <= first.done || done >= total) return ''
    return `${duration(((elapsed() - first.elapsed) / (done - first.done)) * (total - done))} left`
  }
  const finish = (): void => void stream.write(`${title} ${duration(elapsed())}\n`)
  if (stream.isTTY) {
    const line = statusLine(stream)
    const fitted = lineFitter()
    return {
      update(done, total, note = '') {
        const remaining = left(done, total)
        line.show((columns) =>
          fitted(columns, done / total, [
            { text: label, keep: Infinity },
            { text: `${done}/${total}`, keep: 3 },
            { text: remaining, keep: 2 },
            { text: note, keep: 1 },
          ]),
        )
      },
      finish() {
        line.end('remove')
        finish()
      },
    }
  }
  let lastLine = begun
  return {
    update(done, total, note = '') {
      if (performance.now() - lastLine < 1000 * SECONDS_BETWEEN_LINES || done >= total) return
      lastLine = performance.now()
      stream.write(`${[`${title} ${done}/${total}`, left(done, total), note].filter(Boolean).join('  ')}\n`)
    },
    finish,
  }
}

/** Shows work that reports the name of its current phase: each phase in turn. */
export function phaseReporter<Name extends string>(title: string) {
  let current: Name | undefined
  let shown: Phase | undefined
  return {
    onProgress(name: Name, done: number, total: number): void {
      if (name !== current) {
        shown?.finish()
        shown = beginPhase(`${title}: ${name}`)
        current = name
      }
      shown?.update(done, total)
    },
    finish: (): void => shown?.finish(),
  }
}
