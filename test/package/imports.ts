/** The imports of values in this repository, as dependency-cruiser reads them, summed between rooms. */
import { cruise, type ICruiseResult } from 'dependency-cruiser'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import config from '../../.dependency-cruiser.mjs'

export const root = fileURLToPath(new URL('../../', import.meta.url))

/** The folders that hold code, in the order of the imports: each may import from those after it. */
export const folders = ['bench', 'train', 'models', 'engine', 'shaders']

export interface Arrow {
  from: string
  to: string
  /** Number of imports. */
  count: number
  /** Whether the two rooms also import each other in the other direction, directly or through other rooms. */
  cyclic: boolean
}

/** Each import of a value between two files of this repository, and each file that reads the shaders. */
export async function fileImports(): Promise<[from: string, to: string][]> {
  const code = folders.filter((folder) => folder !== 'shaders')
  const { output } = await cruise(code, { ...config.options, baseDir: root })
  const imports: [string, string][] = []
  for (const { source, dependencies } of (output as ICruiseResult).modules) {
    if (!code.includes(source.split('/')[0])) continue
    for (const { resolved } of dependencies) if (code.includes(resolved.split('/')[0])) imports.push([source, resolved])
    // Shaders are texts: no module imports them, some read them by their URL.
    if (/new URL\([^)]*\/shaders\//.test(readFileSync(join(root, source), 'utf8')))
      imports.push([source, 'shaders/*.wgsl'])
  }
  return imports
}

/**
 * The room of a file: its folder, at most two levels deep. The `index.ts` of a folder that has rooms inside is a
 * room of its own, because it gathers what the others export.
 */
export function roomOf(file: string): string {
  if (/^(engine|train)\/index\.ts$/.test(file)) return file
  return file.split('/').slice(0, -1).slice(0, 2).join('/')
}

/** Imports summed between rooms. */
export function roomArrows(imports: readonly (readonly [from: string, to: string])[]): Arrow[] {
  const counts = new Map<string, Map<string, number>>()
  for (const [from, to] of imports.map(([a, b]) => [roomOf(a), roomOf(b)])) {
    if (from === to) continue
    const row = counts.get(from) ?? new Map<string, number>()
    counts.set(from, row.set(to, (row.get(to) ?? 0) + 1))
  }
  const reachable = reachability(counts)
  return [...counts].flatMap(([from, row]) =>
    [...row].map(([to, count]) => ({ from, to, count, cyclic: reachable(to, from) })),
  )
}

/** The arrows without those that follow from a chain of others: a → c where a → b → c. Cycles stay whole. */
export function essentialArrows(arrows: readonly Arrow[]): Arrow[] {
  const rows = new Map<string, Map<string, number>>()
  for (const { from, to, count } of arrows) rows.set(from, (rows.get(from) ?? new Map()).set(to, count))
  const reachable = reachability(rows)
  const rooms = [...new Set(arrows.flatMap(({ from, to }) => [from, to]))]
  const oneWay = (a: string, b: string) => reachable(a, b) && !reachable(b, a)
  return arrows.filter(({ from, to, cyclic }) => cyclic || !rooms.some((via) => oneWay(from, via) && oneWay(via, to)))
}

function reachability(rows: ReadonlyMap<string, ReadonlyMap<string, number>>): (from: string, to: string) => boolean {
  const reached = new Map<string, Set<string>>()
  for (const start of rows.keys()) {
    const seen = new Set<string>()
    const queue = [start]
    for (const room of queue)
      for (const next of rows.get(room)?.keys() ?? [])
        if (!seen.has(next)) {
          seen.add(next)
          queue.push(next)
        }
    reached.set(start, seen)
  }
  return (from, to) => reached.get(from)?.has(to) ?? false
}
