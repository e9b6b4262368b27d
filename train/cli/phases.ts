/** Shows long phases of work on stderr: a bar with the time left, or plain lines where stderr is no terminal. */
import { SingleBar } from 'cli-progress'
import { duration } from '../report/text.js'

const SECONDS_BETWEEN_LINES = 5
const LABEL_CELLS = 26

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
  const left = (done: number, total: number): string =>
    done > 0 && done < total ? `${duration((elapsed() / done) * (total - done))} left` : ''
  const finish = (): void => void stream.write(`${title} ${duration(elapsed())}\n`)
  if (stream.isTTY) {
    const bar = new SingleBar({
      stream,
      barsize: 16,
      clearOnComplete: true,
      format: `${title} {bar} {value}/{total}  {left}  {note}`,
      barCompleteChar: '█',
      barIncompleteChar: '░',
    })
    let started = false
    return {
      update(done, total, note = '') {
        const payload = { left: left(done, total), note }
        if (!started) bar.start(total, done, payload)
        started = true
        bar.setTotal(total)
        bar.update(done, payload)
      },
      finish() {
        bar.stop()
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
