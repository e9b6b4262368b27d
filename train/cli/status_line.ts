/** A status line: the last line of a terminal, redrawn in place while other lines are printed above it. */
import { wrapped } from '../../engine/node/command.js'

const MS_BETWEEN_DRAWS = 100
/** A line that does not change by itself is drawn again after this time, because it may show the time that has passed. */
const MS_BETWEEN_REFRESHES = 1000
const CLEAR_TO_END = '\x1b[K'

export interface StatusLine {
  /** Shows a line. @param draw makes the text, without line breaks, for a number of columns */
  show(draw: (columns: number) => string): void
  /** Prints a line above the status line, broken between words where the terminal is narrower. */
  print(line: string): void
  /** Ends the status line. It stays on the screen as it was drawn last, or is removed. */
  end(how: 'keep' | 'remove'): void
}

/**
 * The columns that a line may fill. Three stay free: some terminals wrap at the last one, and a terminal echoes Ctrl-C as
 * two characters.
 */
const columnsOf = (stream: NodeJS.WriteStream): number => Math.max(1, (stream.columns || 80) - 3)

/** @param stream a terminal */
export function statusLine(stream: NodeJS.WriteStream): StatusLine {
  let draw: ((columns: number) => string) | undefined
  let drawn = ''
  let drawnAt = -Infinity
  let timer: NodeJS.Timeout | undefined

  const redraw = (): void => {
    if (!draw) return
    clearTimeout(timer)
    const columns = columnsOf(stream)
    const text = [...draw(columns)].slice(0, columns).join('')
    if (text !== drawn) stream.write(`\r${text}${CLEAR_TO_END}`)
    drawn = text
    drawnAt = performance.now()
    timer = setTimeout(redraw, MS_BETWEEN_REFRESHES).unref()
  }
  const remove = (): void => {
    if (drawn) stream.write(`\r${CLEAR_TO_END}`)
    drawn = ''
  }
  return {
    show(next) {
      draw = next
      const wait = MS_BETWEEN_DRAWS - (performance.now() - drawnAt)
      if (wait <= 0) return redraw()
      clearTimeout(timer)
      timer = setTimeout(redraw, wait).unref()
    },
    print(line) {
      remove()
      stream.write(`${wrapped(line, columnsOf(stream))}\n`)
      redraw()
    },
    end(how) {
      if (!draw) return
      if (how === 'remove') remove()
      else {
        redraw()
        stream.write('\n')
      }
      clearTimeout(timer)
      draw = undefined
      drawn = ''
    },
  }
}

/** A part of a line. Where a line is too long, the part with the smallest `keep` is left out first. */
export interface LinePart {
  text: string
  /** Infinity: always there. */
  keep: number
}

const SEPARATOR = ' · '
/** Cells of the bar. It keeps its length, so that only what it shows moves. */
const BAR = 8
/** The bar is left out after parts with a smaller `keep`. */
const KEEP_BAR = 3.5

/**
 * Makes lines of a bar and parts that fit into a number of columns. What one line has no room for, later lines leave out
 * too, until the terminal has another width: nothing comes and goes while numbers grow and shrink.
 *
 * @returns makes a line; `share` of the work is done, from 0 to 1
 */
export function lineFitter(): (columns: number, share: number, parts: readonly LinePart[]) => string {
  let leftOut = -Infinity
  let width = 0
  return (columns, share, parts) => {
    if (columns !== width) leftOut = -Infinity
    width = columns
    for (;;) {
      const kept = parts.filter(({ text, keep }) => text !== '' && keep > leftOut).map(({ text }) => text)
      const line = `${leftOut < KEEP_BAR ? `${bar(share)} ` : ''}${kept.join(SEPARATOR)}`
      const next = Math.min(...[KEEP_BAR, ...parts.map(({ keep }) => keep)].filter((keep) => keep > leftOut))
      if (line.length <= columns || next === Infinity) return line
      leftOut = next
    }
  }
}

function bar(share: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * BAR)
  return '█'.repeat(full) + '░'.repeat(BAR - full)
}
