/** Mutants: changes of one place in one file, and how some of them are drawn. */
import { createHash } from 'node:crypto'

/** A change that a file's language allows at one place. */
export interface Change {
  /** What kind of mistake it is, such as `sign`. */
  readonly kind: string
  /** Characters `start` to `end` of the file become `text`. */
  readonly start: number
  readonly end: number
  readonly text: string
  /** The innermost function with a name that contains the place, if there is one. */
  readonly within?: string
}

/** One mistake in one file. */
export interface Mutant extends Change {
  readonly file: string
  /** From 1. */
  readonly line: number
  /** The changed line before and after, without indentation. */
  readonly before: string
  readonly after: string
  /** Identifies the mutant as long as the file's text is the same. */
  readonly key: string
}

export const hash = (...texts: string[]): string =>
  createHash('sha256').update(texts.join('\0')).digest('hex').slice(0, 16)

export const mutated = (source: string, { start, end, text }: Change): string =>
  source.slice(0, start) + text + source.slice(end)

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim()

export function mutantOf(file: string, source: string, change: Change): Mutant {
  const { kind, start, end, text } = change
  const from = source.lastIndexOf('\n', start - 1) + 1
  const newline = source.indexOf('\n', end)
  const to = newline < 0 ? source.length : newline
  return {
    ...change,
    file,
    line: source.slice(0, start).split('\n').length,
    before: oneLine(source.slice(from, to)),
    after: oneLine(source.slice(from, start) + text + source.slice(end, to)),
    key: hash(source, kind, String(start), String(end), text),
  }
}

/**
 * Orders the mutants of a file so that the first ones are of different kinds. The order is a function of the seed and
 * of the mutants, so that a change of another file leaves it as it is.
 */
export function inDrawnOrder(mutants: readonly Mutant[], seed: number): Mutant[] {
  const ranked = mutants
    .map((mutant) => ({ mutant, rank: hash(String(seed), mutant.file, mutant.kind, mutant.before, mutant.after) }))
    .sort((a, b) => (a.rank < b.rank ? -1 : 1))
  const seen = new Map<string, number>()
  return ranked
    .map(({ mutant }) => {
      const round = seen.get(mutant.kind) ?? 0
      seen.set(mutant.kind, round + 1)
      return { mutant, round }
    })
    .sort((a, b) => a.round - b.round)
    .map(({ mutant }) => mutant)
}
