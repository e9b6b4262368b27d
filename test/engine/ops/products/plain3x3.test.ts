import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { conv2d, gradients, input, square, sum } from '../../../../engine/index.js'
import { checkOp, expectClose } from '../../../support/check.js'
import { engine, engineFor } from '../../../support/engine.js'
import { formulaTensor } from '../../../support/formula.js'
import * as reference from '../../../support/reference/index.js'

/** From here on this variant computes every 3×3 product of stride 1, whatever its estimate. */
function computedBy(name: string): void {
  beforeAll(async () => {
    ;(await engine()).variants = Object.assign(new Map<string, string>(), { get: () => name })
  })
  afterAll(async () => {
    ;(await engine()).variants = new Map()
  })
}

/**
 * Whole tiles, partial tiles on each side, one tile in one direction and several in the other, and channels that need
 * padding.
 */
const cases: { x: number[]; w: number[]; padding: number; bias?: boolean }[] = [
  { x: [1, 4, 4, 4], w: [3, 3, 4, 4], padding: 1 },
  { x: [2, 8, 8, 8], w: [3, 3, 8, 12], padding: 1 },
  { x: [3, 7, 5, 5], w: [3, 3, 5, 17], padding: 1 },
  { x: [1, 9, 3, 20], w: [3, 3, 20, 3], padding: 1, bias: true },
  { x: [2, 6, 11, 4], w: [3, 3, 4, 8], padding: 0 },
  { x: [1, 5, 6, 4], w: [3, 3, 4, 4], padding: 2 },
  // Rows of the pixels of four lanes and of eight, which is a whole subgroup; then a longer row.
  { x: [3, 3, 16, 4], w: [3, 3, 4, 8], padding: 1 },
  { x: [2, 3, 32, 8], w: [3, 3, 8, 4], padding: 1, bias: true },
  { x: [1, 2, 36, 4], w: [3, 3, 4, 4], padding: 1 },
]

describe.each(['winograd', 'register, by rows'])('3×3 convolution by %s', (name) => {
  computedBy(name)
  for (const { x, w, padding, bias } of cases)
    checkOp(`[${x}] * [${w}], padding ${padding}${bias ? ', bias' : ''}`, {
      inputs: { x, w, ...(bias && { bias: [w[3]] }) } as Record<'x' | 'w' | 'bias', number[]>,
      build: (v) => conv2d(v.x, v.w, { padding, bias: v.bias }),
      reference: (t) => reference.conv2d(t.x, t.w, { stride: 1, padding, bias: t.bias }),
      tolerance: 2e-5,
    })
})

describe('Winograd', () => {
  computedBy('winograd')

  test('serves 3×3 kernels of stride 1 and no others', async () => {
    const kernels = async (size: number, stride: number): Promise<string[]> => {
      const y = conv2d(input('x', [1, 9, 9, 8]), input('w', [size, size, 8, 8]), { stride, padding: 1 })
      return (await engine()).plan({ outputs: { y } }).dispatches.map((d) => d.kernel)
    }
    expect(await kernels(3, 1)).toContain('winograd_output')
    expect(await kernels(3, 2)).not.toContain('winograd_output')
    expect(await kernels(1, 1)).not.toContain('winograd_output')
  })

  test('in runs of images, gives the same results as register tiles', async () => {
    // On a GPU the scratch would hold all images at once.
    const own = await engineFor({ adapterClass: 'cpu' })
    const shapes = { x: [5, 64, 64, 228], w: [3, 3, 228, 4] }
    const given = { x: formulaTensor('runs/x', shapes.x), w: formulaTensor('runs/w', shapes.w) }
    const results: Record<string, Float32Array>[] = []
    for (const name of ['winograd', 'register']) {
      const before = own.variants
      own.variants = Object.assign(new Map<string, string>(), { get: () => name })
      const [x, w] = [input('x', shapes.x), input('w', shapes.w)]
      const y = conv2d(x, w, { padding: 1 })
      const [dw] = gradients(sum(square(y)), [w])
      const program = await own.compile({ outputs: { y, dw } })
      own.variants = before
      expect(program.plan.dispatches.filter((d) => d.kernel === 'winograd_input').length).toBe(
        name === 'winograd' ? 4 : 0,
      )
      await program.run(given)
      results.push({ y: await program.read('y'), dw: await program.read('dw') })
      program.destroy()
    }
    for (const name of ['y', 'dw']) expectClose(name, results[0][name], [...results[1][name]], 1e-4)
  })
})
