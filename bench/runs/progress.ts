/** Shows the progress of many runs on stderr, and ends commands that a signal has stopped. */
import { beginPhase, type Phase } from '../../train/cli/phases.js'
import { duration } from '../../train/report/text.js'
import { Interrupted } from './runs.js'

export interface Progress {
  /** Begins a run. `rows` counts the rows trained so far and the rows of all runs. */
  begin(label: string, rows: { done: number; total: number }): void
  within(label: string, what: string, done: number, total: number): void
  say(line: string): void
  end(): void
}

export function progressOf(): Progress {
  const begun = performance.now()
  let phase: Phase | undefined
  let shown = ''
  const end = (): void => {
    phase?.finish()
    phase = undefined
    shown = ''
  }
  return {
    begin(label, { done, total }) {
      end()
      const seconds = (performance.now() - begun) / 1000
      const left = done > 0 ? `; about ${duration((seconds / done) * (total - done))} left in all` : ''
      console.error(`${label} (${Math.round((100 * done) / total)} % done${left})`)
    },
    within(label, what, done, total) {
      const title = what || label
      if (title !== shown) {
        end()
        phase = beginPhase(title)
        shown = title
      }
      phase!.update(done, total)
    },
    say(line) {
      end()
      console.error(line)
    },
    end,
  }
}

/** Runs `work`. When a signal ends it, prints how to continue and sets exit code 130, or keeps that of SIGTERM. */
export async function stoppedCleanly(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!signal.aborted || !(error instanceof Interrupted || (error as Error).name === 'AbortError')) throw error
    console.error('stopped; run the same command again to continue')
    process.exitCode ??= 130
  }
}
