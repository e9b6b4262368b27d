/** The numbers of a file of lines as columns over steps. */
import { firstAbove, thin, type Points } from './thin.js'
import type { Line, LineSink } from './line_file.js'

/** A file with more fields than this is no file of a run. */
const MOST_COLUMNS = 200

export class Columns implements LineSink {
  /** Each with the steps at which it has a value, ascending. */
  readonly columns = new Map<string, Points>()
  /** Grows whenever earlier lines become void. */
  generation = 0
  lastStep = -1

  line(line: Line): void {
    // A repeated step replaces what came after it: a run went on from an earlier checkpoint.
    if (line.step <= this.lastStep) this.#dropFrom(line.step)
    this.lastStep = line.step
    for (const [name, value] of numbersOf(line)) {
      let column = this.columns.get(name)
      if (!column) {
        if (this.columns.size >= MOST_COLUMNS) continue
        this.columns.set(name, (column = { x: [], y: [] }))
      }
      column.x.push(line.step)
      column.y.push(value)
    }
  }

  reset(): void {
    this.columns.clear()
    this.generation++
    this.lastStep = -1
  }

  /** A column between two steps, the first excluded, thinned. */
  between(name: string, after: number, last: number, most: number): Points {
    const { x, y } = this.columns.get(name)!
    return thin(x, y, most, firstAbove(x, after), firstAbove(x, last))
  }

  #dropFrom(step: number): void {
    this.generation++
    for (const { x, y } of this.columns.values()) x.length = y.length = firstAbove(x, step - 1)
  }
}

/** The numbers of a line by name: `parts` one by one. A loss that is not finite is null in JSON and left out. */
export function* numbersOf(line: Line): Generator<[string, number]> {
  for (const [name, value] of Object.entries(line)) {
    if (typeof value === 'number' && name !== 'step' && name !== 'steps') yield [name, value]
    if (name === 'parts' && value !== null && typeof value === 'object')
      for (const [part, amount] of Object.entries(value))
        if (typeof amount === 'number') yield [`parts.${part}`, amount]
  }
}
