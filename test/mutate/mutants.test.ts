/** The mistakes that `npm run mutate` makes. */
import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { inDrawnOrder, mutantOf, mutated, type Change } from './mutant.js'
import { callsRecorded, changesOfTypeScript } from './typescript.js'
import { changesOfKernel } from './wgsl.js'

const KERNEL = `// k.wgsl: y = a + b
// @specialize
const WORKGROUP_SIZE = 64u;
// @end
struct Params { count: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  var sum: array<f32, 4u * 2u>;
  for (var i = 0u; i < 3u; i += 2u) { y[i] += min(a[i], b[i]); }
  workgroupBarrier();
}
`
const results = (source: string, changes: readonly Change[], line: string): string[] =>
  changes
    .map((change) => mutantOf('file', source, change))
    .flatMap(({ before, after }) => (before === line ? [after] : []))

describe('of a kernel', () => {
  test('are in the code only, not in comments, declarations, defaults and types', () => {
    const lines = changesOfKernel(KERNEL).map((change) => mutantOf('k.wgsl', KERNEL, change).line)
    expect([...new Set(lines)].sort((a, b) => a - b)).toEqual([10, 11])
  })

  test('change one thing each', () => {
    const line = 'for (var i = 0u; i < 3u; i += 2u) { y[i] += min(a[i], b[i]); }'
    expect(new Set(results(KERNEL, changesOfKernel(KERNEL), line))).toEqual(
      new Set([
        'for (var i = 1u; i < 3u; i += 2u) { y[i] += min(a[i], b[i]); }',
        'for (var i = 0u; i <= 3u; i += 2u) { y[i] += min(a[i], b[i]); }',
        'for (var i = 0u; i < 4u; i += 2u) { y[i] += min(a[i], b[i]); }',
        'for (var i = 0u; i < 3u; i += 2u) { y[i] = min(a[i], b[i]); }',
        'for (var i = 0u; i < 3u; i += 2u) { y[i] += max(a[i], b[i]); }',
        'for (var i = 0u; i < 3u; i += 2u) { }',
        'for (var i = 0u; i < 3u; i += 2u) { y[i + 1u] += min(a[i], b[i]); }',
        'for (var i = 0u; i < 3u; i += 2u) { y[i] += min(a[i + 1u], b[i]); }',
        'for (var i = 0u; i < 3u; i += 2u) { y[i] += min(a[i], b[i + 1u]); }',
        'for (var i = 0u; i < 3u; i += 2u) { y[i] += min(b[i], b[i]); }',
        'for (var i = 0u; i < 3u; i += 2u) { y[i] += min(a[i], a[i]); }',
      ]),
    )
    expect(results(KERNEL, changesOfKernel(KERNEL), 'workgroupBarrier();')).toEqual([''])
  })

  test('are found in each kernel, at least five in each', () => {
    const folder = new URL('../../shaders/', import.meta.url)
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.wgsl')))
      expect(changesOfKernel(readFileSync(new URL(file, folder), 'utf8')).length, file).toBeGreaterThanOrEqual(5)
  })
})

const GRADIENT = `
const op = defineOp({
  infer: ([x]) => { if (x.shape.length < 2) throw new Error(\`\${1 + 2} axes\`) },
  cost: (n) => 2 * n,
  gradient: ([x], [g]) => [subtract(g, x), scale(g, -1)],
})
`

describe('of TypeScript', () => {
  test('are not in checks, messages and estimates', () => {
    const lines = changesOfTypeScript('op.ts', GRADIENT).map((change) => mutantOf('op.ts', GRADIENT, change).line)
    expect(new Set(lines)).toEqual(new Set([5]))
  })

  test('drop gradients and terms, and swap operands', () => {
    const line = 'gradient: ([x], [g]) => [subtract(g, x), scale(g, -1)],'
    expect(results(GRADIENT, changesOfTypeScript('op.ts', GRADIENT), line)).toEqual(
      expect.arrayContaining([
        'gradient: ([x], [g]) => [undefined, scale(g, -1)],',
        'gradient: ([x], [g]) => [subtract(x, g), scale(g, -1)],',
        'gradient: ([x], [g]) => [subtract(g, x), g],',
        'gradient: ([x], [g]) => [subtract(g, x), scale(g, 1)],',
      ]),
    )
  })

  test('know the function that they are in, and recording says when it is called', () => {
    expect(changesOfTypeScript('op.ts', GRADIENT)[0].within).toBe('gradient')
    const source = 'const twice = (x) => ({ y: 2 * x }); function once(x) { return x }; twice(3); once(4)'
    const called: string[] = []
    const globals = { mutateCalled: (name: string) => called.push(name) }
    new Function('globalThis', callsRecorded('f.ts', source))(globals)
    expect(called).toEqual(['f.ts#twice', 'f.ts#once'])
  })
})

test('the draw depends on the seed only, and begins with different kinds', () => {
  const mutants = changesOfKernel(KERNEL).map((change) => mutantOf('k.wgsl', KERNEL, change))
  const first = inDrawnOrder(mutants, 1)
  expect(inDrawnOrder([...mutants].reverse(), 1)).toEqual(first)
  expect(inDrawnOrder(mutants, 2)).not.toEqual(first)
  const kinds = new Set(mutants.map(({ kind }) => kind)).size
  expect(new Set(first.slice(0, kinds).map(({ kind }) => kind)).size).toBe(kinds)
})

test('a mutant differs from the source by its one change', () => {
  for (const change of changesOfKernel(KERNEL)) {
    const broken = mutated(KERNEL, change)
    expect(broken).not.toBe(KERNEL)
    expect(broken.slice(0, change.start)).toBe(KERNEL.slice(0, change.start))
    expect(broken.slice(change.start + change.text.length)).toBe(KERNEL.slice(change.end))
  }
})
