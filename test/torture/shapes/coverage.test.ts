/** No op, function or variant can be forgotten: what the engine's files declare is what the families reach. */
import fc from 'fast-check'
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { families } from './families/index.js'
import { allVariants } from './forced.js'
import { called } from './ops.js'
import { graphOf, opsOf } from './run.js'

const engine = new URL('../../../engine/', import.meta.url)

/** Files of ops that need several ranks: test/train/step/distributed.test.ts compares them with one rank. */
const ofSeveralRanks = ['batch_norm_across', 'exchange']

/** Names that `defineOp` gives in the files of engine/ops/. */
function declaredOps(): Set<string> {
  const files = readdirSync(new URL('ops/', engine)).filter(
    (file) => file.endsWith('.ts') && !ofSeveralRanks.includes(file.slice(0, -3)),
  )
  return new Set(
    files.flatMap((file) => {
      const text = readFileSync(new URL(`ops/${file}`, engine), 'utf8')
      const names = [...text.matchAll(/defineOp<[^]*?>\(\{\s*name: '(\w+)'/g)].map(([, name]) => name)
      expect(names.length, `ops in ${file}`).toBe(text.match(/= defineOp</g)?.length ?? 0)
      return names
    }),
  )
}

/** Functions and constants that engine/index.ts exports from engine/ops/. */
function exportedFunctions(): string[] {
  const text = readFileSync(new URL('index.ts', engine), 'utf8')
  const lists = [...text.matchAll(/^export \{([^}]*)\} from '\.\/ops\/(\w+)/gm)]
    .filter(([, , file]) => !ofSeveralRanks.includes(file))
    .map(([, list]) => list)
  return lists.flatMap((list) =>
    list
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name && !name.startsWith('type ')),
  )
}

test('the families reach every op and every function of the engine', () => {
  const reached = new Set<string>()
  for (const family of families)
    for (const drawn of fc.sample(family.drawn, { seed: 1, numRuns: 3 }))
      for (const op of opsOf(graphOf(family.make(drawn)))) reached.add(op)
  expect([...declaredOps()].filter((name) => !reached.has(name))).toEqual([])
  expect(exportedFunctions().length).toBeGreaterThan(40)
  expect(exportedFunctions().filter((name) => !called.has(name))).toEqual([])
})

test('there is a family for every variant', () => {
  const variants = new Set(families.map(({ variant }) => variant))
  const missing = allVariants.filter((name) => !variants.has(name.slice(name.indexOf(' by ') + 4)))
  expect(allVariants.length).toBeGreaterThan(30)
  expect(missing).toEqual([])
})
