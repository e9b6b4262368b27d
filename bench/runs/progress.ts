/** Many runs on the terminal: what is being done, and how long all of it will take; and how they are stopped. */
import { beginPhase, type Phase } from '../../train/cli/phases.js'
import { duration } from '../../train/report/text.js'
import { Interrupted } from './runs.js'

export interface Progress {
  /** A run begins; `rows` are those trained so far, of all that are to be. */
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

/** Runs `work`; where a signal ended it, says how to go on and leaves exit code 130. */
export async function stoppedCleanly(signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!signal.aborted || !(error instanceof Interrupted || (error as Error).name === 'AbortError')) throw error
    console.error('stopped; the same command goes on from here')
    process.exitCode = 130
  }
}
