/** Shows the progress of long work as a bar on a terminal, or as a line every few seconds elsewhere. */
import { SingleBar } from 'cli-progress'
import type { ProgressReporter } from '../../data/progress.js'
import { formatCount } from '../../report/text.js'

const SECONDS_BETWEEN_LINES = 3
/** The whole line must fit in 80 columns. */
const BAR_CELLS = 12

/** @param stream stderr by default, so that stdout holds only results */
export function terminalProgress(stream: NodeJS.WriteStream = process.stderr): ProgressReporter {
  return {
    begin(label, total, unit) {
      const bar = new SingleBar({
        stream,
        // cli-progress would turn line wrap off, and Ctrl-C would leave it off.
        linewrap: true,
        noTTYOutput: true,
        notTTYSchedule: SECONDS_BETWEEN_LINES * 1000,
        // Without a terminal the last line has already ended. This avoids an empty line.
        clearOnComplete: !stream.isTTY,
        format: (_options, state) => {
          const share = total > 0 ? Math.min(state.value / total, 1) : 1
          const cells = Math.round(share * BAR_CELLS)
          const left =
            share < 1 && Number.isFinite(Number(state.eta)) && state.value > 0 ? ` · ${state.eta} s left` : ''
          const drawn = '█'.repeat(cells) + '░'.repeat(BAR_CELLS - cells)
          return `${label} ${drawn} ${amount(state.value, total, unit)} · ${Math.floor(share * 100)} %${left}`
        },
      })
      bar.start(total, 0)
      return {
        update: (done) => bar.update(Math.min(done, total)),
        finish: () => bar.stop(),
      }
    },
  }
}

function amount(done: number, total: number, unit: 'bytes' | 'images'): string {
  if (unit === 'images') return `${formatCount(done)}/${formatCount(total)} images`
  return `${(done / 1e6).toFixed(1)}/${(total / 1e6).toFixed(1)} MB`
}
