import { describe, expect, test } from 'vitest'
import { gradients, input, matmul, multiply, sum } from '../../../engine/index.js'
import { checkOp, expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'
import * as reference from '../../support/reference/index.js'
import { tensor64 } from '../../support/reference/index.js'

describe('matmul', () => {
  for (const transposeA of [false, true])
    for (const transposeB of [false, true])
      for (const [m, k, n] of [
        [1, 1, 1],
        [3, 17, 5],
        [17, 5, 130],
        [67, 33, 35],
        [37, 7, 32],
      ])
        checkOp(`${transposeA ? 'aT' : 'a'} ${transposeB ? 'bT' : 'b'} + bias, ${m}x${k}x${n}`, {
          inputs: { a: transposeA ? [k, m] : [m, k], b: transposeB ? [n, k] : [k, n], bias: [n] },
          build: ({ a, b, bias }) => matmul(a, b, { transposeA, transposeB, bias }),
          reference: ({ a, b, bias }) => reference.matmul(a, b, { transposeA, transposeB, bias }),
        })

  checkOp('a long inner axis', {
    inputs: { a: [5, 1030], b: [1030, 3] },
    build: ({ a, b }) => matmul(a, b),
    reference: ({ a, b }) => reference.matmul(a, b),
  })
  for (const [transposeA, transposeB] of [
    [false, false],
    [true, false],
    [false, true],
  ])
    for (const [m, k, n] of [
      [9, 6, 17],
      [9, 7, 32],
    ])
      checkOp(`batched, ${transposeA ? 'aT' : 'a'} ${transposeB ? 'bT' : 'b'}, ${m}x${k}x${n}`, {
        inputs: { a: transposeA ? [3, k, m] : [3, m, k], b: transposeB ? [3, n, k] : [3, k, n] },
        build: ({ a, b }) => matmul(a, b, { transposeA, transposeB }),
        reference: ({ a, b }) => reference.matmul(a, b, { transposeA, transposeB }),
      })

  test('shape errors name the op and both shapes', () => {
    const a = input('a', [3, 5])
    expect(() => matmul(a, input('b', [4, 7]))).toThrow(/matmul.*\[3, 5\].*\[4, 7\]/)
    expect(() => matmul(a, input('b', [5, 7]), { transposeA: true })).toThrow(/matmul.*\[3, 5\].*\[5, 7\]/)
    expect(() => matmul(a, input('b', [5, 7]), { bias: input('bias', [5]) })).toThrow(/matmul.*\[5\]/)
    expect(() => matmul(input('a', [2, 3, 5]), input('b', [3, 5, 7]))).toThrow(/matmul.*\[2, 3, 5\].*\[3, 5, 7\]/)
  })
})

describe('a weight larger than a binding', () => {
  test('is cut, and so is its gradient; both agree with f64', async () => {
    const gpu = await engine()
    // A binding of 16 KiB, for a weight and a gradient of 96 KiB each, and a product of 9 KiB in seven splits.
    const small = Object.create(gpu, { target: { value: { ...gpu.target, maxBindingBytes: 16384 } } }) as typeof gpu
    const shapes = { x: [12, 128], w: [128, 192], bias: [192], r: [12, 192] }
    const [x, w, bias, r] = Object.entries(shapes).map(([name, shape]) => input(name, shape))
    const y = matmul(x, w, { bias })
    const [dx, dw, dbias] = gradients(sum(multiply(y, r)), [x, w, bias])
    const outputs = { y, dx, dw, dbias }
    const program = await small.compile({ outputs })
    for (const { bindings } of program.plan.dispatches)
      for (const { bytes } of bindings) expect(bytes).toBeLessThanOrEqual(16384)
    expect(program.plan.dispatches.filter(({ kernel }) => kernel === 'matmul').length).toBeGreaterThan(20)

    const given = Object.fromEntries(
      Object.entries(shapes).map(([name, shape]) => [name, formulaTensor(`large/${name}`, shape)]),
    )
    await program.run(given)
    const [x64, w64, bias64, r64] = Object.entries(shapes).map(([name, shape]) => tensor64(shape, given[name]))
    const expected = {
      y: reference.matmul(x64, w64, { bias: bias64 }),
      dx: reference.matmul(r64, w64, { transposeB: true }),
      dw: reference.matmul(x64, r64, { transposeA: true }),
    }
    for (const name of ['y', 'dx', 'dw'] as const)
      expectClose(name, await program.read(name), expected[name].data, 1e-5)
    program.destroy()
  })

  test('may be transposed, with a bias', async () => {
    const gpu = await engine()
    // 80 rows of w would fit, but then the bias of the second block would begin at byte 320.
    const small = Object.create(gpu, { target: { value: { ...gpu.target, maxBindingBytes: 80 * 256 } } }) as typeof gpu
    const shapes = { x: [3, 64], w: [200, 64], bias: [200] }
    const [x, w, bias] = Object.entries(shapes).map(([name, shape]) => input(name, shape))
    const program = await small.compile({ outputs: { y: matmul(x, w, { transposeB: true, bias }) } })
    expect(program.plan.dispatches.filter(({ kernel }) => kernel === 'matmul')).toHaveLength(4)
    const given = Object.fromEntries(
      Object.entries(shapes).map(([name, shape]) => [name, formulaTensor(`large transposed/${name}`, shape)]),
    )
    await program.run(given)
    const [x64, w64, bias64] = Object.entries(shapes).map(([name, shape]) => tensor64(shape, given[name]))
    const expected = reference.matmul(x64, w64, { transposeB: true, bias: bias64 })
    expectClose('y', await program.read('y'), expected.data, 1e-5)
    program.destroy()
  })

  test('is a clear error if its sizes cannot be cut', async () => {
    const gpu = await engine()
    const small = Object.create(gpu, { target: { value: { ...gpu.target, maxBindingBytes: 4096 } } }) as typeof gpu
    const product = matmul(input('x', [3, 64]), input('w', [63, 64]), { transposeB: true })
    expect(() => small.plan({ outputs: { product } })).toThrow(/matmul.*\[63, 64\].*multiples of 4/)
  })
})
