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
    eachNumber(line, (name, value) => {
      const column = this.columns.get(name) ?? this.#begin(name)
      column?.x.push(line.step)
      column?.y.push(value)
    })
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

  #begin(name: string): Points | undefined {
    if (this.columns.size >= MOST_COLUMNS) return undefined
    const column: Points = { x: [], y: [] }
    this.columns.set(name, column)
    return column
  }

  #dropFrom(step: number): void {
    this.generation++
    for (const { x, y } of this.columns.values()) x.length = y.length = firstAbove(x, step - 1)
  }
}

/** The numbers of a line by name: `parts` one by one. A loss that is not finite is null in JSON and left out. */
export function eachNumber(line: Line, take: (name: string, value: number) => void): void {
  for (const name in line) {
    const value = line[name]
    if (typeof value === 'number') {
      if (name !== 'step' && name !== 'steps') take(name, value)
    } else if (name === 'parts' && value !== null && typeof value === 'object')
      for (const [part, amount] of Object.entries(value)) if (typeof amount === 'number') take(partName(part), amount)
  }
}

/** Names are made once: a long file has each of them hundreds of thousands of times. */
const partNames = new Map<string, string>()
function partName(part: string): string {
  let name = partNames.get(part)
  if (name === undefined) {
    name = `parts.${part}`
    if (partNames.size < MOST_COLUMNS) partNames.set(part, name)
  }
  return name
}
