/** A status line: the last line of a terminal, redrawn in place while other lines are printed above it. */

const MS_BETWEEN_DRAWS = 100
/** A line that does not change by itself is drawn again after this time, because it may show the time that has passed. */
const MS_BETWEEN_REFRESHES = 1000
const CLEAR_TO_END = '\x1b[K'

export interface StatusLine {
  /** Shows a line. @param draw makes the text, without line breaks, for a number of columns */
  show(draw: (columns: number) => string): void
  /** Prints a line above the status line. */
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
      stream.write(`${line}\n`)
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
const LEAST_BAR = 6
const MOST_BAR = 24

/**
 * A line of parts that fits into a number of columns, with a bar in front of them where there is room.
 *
 * @param share of the work that is done, from 0 to 1
 */
export function fitLine(columns: number, share: number, parts: readonly LinePart[]): string {
  let kept = parts.filter(({ text }) => text !== '')
  const joined = (): string => kept.map(({ text }) => text).join(SEPARATOR)
  while (joined().length > columns) {
    const least = Math.min(...kept.map(({ keep }) => keep))
    if (least === Infinity) break
    kept = kept.filter(({ keep }) => keep !== least)
  }
  const cells = Math.min(MOST_BAR, columns - joined().length - 1)
  return cells < LEAST_BAR ? joined() : `${bar(share, cells)} ${joined()}`
}

function bar(share: number, cells: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * cells)
  return '█'.repeat(full) + '░'.repeat(cells - full)
}
