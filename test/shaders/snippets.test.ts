/** WGSL has no imports, so some files hold copies of the same code. A change to one copy must be made in all. */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const folder = new URL('../../shaders/', import.meta.url)
const files = readdirSync(folder)
  .filter((file) => file.endsWith('.wgsl'))
  .map((file) => file.slice(0, -'.wgsl'.length))
const textOf = (file: string): string => readFileSync(new URL(`${file}.wgsl`, folder), 'utf8')

/** Code without comments, indentation and blank lines. */
function codeOf(text: string): string {
  const lines = text.split('\n').map((line) => line.replace(/\/\/.*$/, '').trim())
  return lines.filter(Boolean).join('\n')
}

/** The code of a file's snippets with a name such as `store = f16`, in order, the default ones and the others. */
function snippets(file: string, name: string): string[] {
  const blocks = /^ *(?:\/\/|\/\*) @snippet (\w+ = \w+)\n([^]*?)^ *(?:\/\/ )?@end/gm
  return [...textOf(file).matchAll(blocks)].filter(([, found]) => found === name).map(([, , body]) => codeOf(body))
}

/** The code of `fn name` or `struct name`. */
function declaration(file: string, name: string): string {
  const [text] = new RegExp(`^${name}\\b(?:.*\\}$|[^]*?^\\}$)`, 'm').exec(textOf(file)) ?? []
  if (text === undefined) throw new Error(`${file}.wgsl has no ${name}`)
  return codeOf(text)
}

/** Fails unless all files have the same code, and names those that differ from the first. */
function expectCopies(code: ReadonlyMap<string, unknown>): void {
  const [first, ...others] = [...code]
  for (const [file, text] of others) expect(text, `${file}.wgsl differs from ${first[0]}.wgsl`).toEqual(first[1])
}

test.each(['store = f32', 'store = f16'])('each snippet `%s` on vec4s is the same', (name) => {
  // max_pool_gradient stores scalars: the next test.
  const holders = files.filter((file) => file !== 'max_pool_gradient' && snippets(file, name).length > 0)
  expect(holders.length).toBeGreaterThan(10)
  expectCopies(new Map(holders.map((file) => [file, snippets(file, name)])))
})

test('the scalar snippet `store = f16` has the same limit and the same infinity', () => {
  const [scalar] = snippets('max_pool_gradient', 'store = f16')
  const [vector] = snippets('conv2d', 'store = f16')
  const numbers = (code: string) => code.match(/0x[0-9a-f]+u/g)
  expect(numbers(scalar.replace('0x7c00u', '0x7c007c00u'))).toEqual(numbers(vector))
})

test.each([
  ['total = alone', ['batch_norm_statistics', 'batch_norm_gradient_sums', 'batch_norm_gradient_merge']],
  ['total = shared', ['batch_norm_statistics', 'batch_norm_gradient_sums', 'batch_norm_gradient_merge']],
])('the kernels of batch-norm have the same snippet `%s`', (name, holders) => {
  expectCopies(new Map(holders.map((file) => [file, snippets(file, name)])))
})

test('the kernels of rows add and compare in the same way', () => {
  const holders = ['normalize_rows', 'nt_xent', 'orthogonality', 'cross_entropy']
  for (const name of ['share = alone', 'share = shared']) {
    const first = (file: string): string[] => snippets(file, name).map((code) => code.split('\nfn largest')[0])
    expectCopies(new Map(holders.map((file) => [file, first(file)])))
    expectCopies(new Map(['nt_xent', 'cross_entropy'].map((file) => [file, snippets(file, name)])))
  }
})

test.each(['weights = shuffled', 'weights = direct'])('conv2d and conv2d_row have the same snippets `%s`', (name) => {
  const copies = ['conv2d', 'conv2d_row'].map((file) => [file, snippets(file, name)] as const)
  expect(copies[0][1].length).toBeGreaterThan(1)
  expectCopies(new Map(copies))
})

test.each([
  [
    ['conv2d_matrix', 'conv2d_tiled'],
    ['struct Params', 'struct Place', 'fn place', 'fn advanced'],
  ],
  [
    ['conv2d_weight_gradient_matrix', 'conv2d_weight_gradient_tiled'],
    ['struct Params', 'struct Pixel', 'fn pixel_of', 'fn advanced'],
  ],
  [['max_pool', 'max_pool_gradient'], ['struct Params']],
])('%j have the same declarations', (copies, names) => {
  for (const name of names) expectCopies(new Map(copies.map((file) => [file, declaration(file, name)])))
})
