/** Progress of long work on the terminal: a bar, or a line every few seconds where there is no terminal. */
import { SingleBar } from 'cli-progress'
import type { ProgressReporter } from '../../data/progress.js'

const SECONDS_BETWEEN_LINES = 3
/** Short enough for the whole line to fit in 80 columns. */
const BAR_CELLS = 12

/** A bar on `stream` (stderr by default, so that results on stdout stay clean). */
export function terminalProgress(stream: NodeJS.WriteStream = process.stderr): ProgressReporter {
  return {
    begin(label, total, unit) {
      const bar = new SingleBar({
        stream,
        // Escape codes that outlive a Ctrl-C are not worth a tidier bar.
        linewrap: true,
        noTTYOutput: true,
        notTTYSchedule: SECONDS_BETWEEN_LINES * 1000,
        // Without a terminal the last line has ended already; this avoids an empty one.
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
  if (unit === 'images') return `${done.toLocaleString('en')}/${total.toLocaleString('en')} images`
  return `${(done / 1e6).toFixed(1)}/${(total / 1e6).toFixed(1)} MB`
}
