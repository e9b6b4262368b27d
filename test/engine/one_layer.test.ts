/** The excerpts in engine/one_layer.md equal the files that they come from. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

/** Fenced blocks below a line that is a file's path in backticks. */
const excerpts = [...read('engine/one_layer.md').matchAll(/^`([\w./]+)`\n```\w+\n([^]*?)^```$/gm)].map(
  ([, path, text]) => ({ path, text, first: text.split('\n')[0].trim() }),
)

test('there are excerpts of TypeScript and of WGSL', () => {
  expect(excerpts.map(({ path }) => path)).toEqual(
    expect.arrayContaining(['engine/ops/batch_norm.ts', 'shaders/batch_norm_apply.wgsl']),
  )
})

test.each(excerpts)('$path: $first', ({ path, text }) => {
  expect(read(path).includes(text), `copy this part of ${path} to engine/one_layer.md again:\n${text}`).toBe(true)
})
