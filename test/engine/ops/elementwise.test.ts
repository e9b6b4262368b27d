import { describe, expect, test } from 'vitest'
import {
  add,
  affine,
  divide,
  exp,
  input,
  log,
  multiply,
  relu,
  sin,
  cos,
  sqrt,
  square,
  subtract,
  type Value,
} from '../../../engine/index.js'
import { checkOp } from '../../support/check.js'
import * as reference from '../../support/reference/index.js'

const awayFromZero = (v: number) => Math.sign(v) * (0.5 + Math.abs(v))

describe('binary', () => {
  const ops = { add, subtract, multiply, divide }
  const shapes: [a: number[], b: number[]][] = [
    [
      [3, 5, 3, 17],
      [3, 5, 3, 17],
    ],
    [[7, 130], [130]],
    [
      [5, 1],
      [1, 17],
    ],
    [[17], [3, 1]],
    [
      [3, 1, 1, 5],
      [3, 4, 3, 5],
    ],
    [[5, 3], [1]],
    [[1], [1]],
    // Rows of whole vec4s: merged with the dimensions before them, repeated, or broadcast from one number.
    [
      [3, 5, 8],
      [5, 8],
    ],
    [
      [3, 1, 8],
      [3, 5, 1],
    ],
    [
      [2, 3, 5, 4],
      [2, 1, 5, 1],
    ],
    [
      [4, 1, 3, 12],
      [1, 5, 3, 12],
    ],
    [[1], [3, 4, 36]],
  ]
  for (const name of Object.keys(ops) as (keyof typeof ops)[])
    for (const [a, b] of shapes)
      checkOp(`${name} [${a}], [${b}]`, {
        inputs: { a, b },
        domain: (v, key) => (name === 'divide' && key === 'b' ? awayFromZero(v) : v),
        build: (v) => ops[name](v.a, v.b),
        reference: (t) => reference[name](t.a, t.b),
      })

  test('shape errors name the op and both shapes', () => {
    for (const name of Object.keys(ops) as (keyof typeof ops)[])
      expect(() => ops[name](input('a', [3, 5]), input('b', [3, 4]))).toThrow(
        new RegExp(`${name}.*\\[3, 5\\].*\\[3, 4\\]`),
      )
  })

  checkOp('a value used twice gets both gradients', {
    inputs: { a: [5, 3] },
    build: ({ a }) => add(multiply(a, a), a),
    reference: ({ a }) => reference.add(reference.multiply(a, a), a),
  })
})

describe('unary', () => {
  const positive = (v: number) => 0.3 + v * v
  const ops: Record<
    string,
    [(x: Value) => Value, (x: reference.Tensor64) => reference.Tensor64, ((v: number) => number)?]
  > = {
    relu: [relu, reference.relu],
    square: [square, reference.square],
    exp: [exp, reference.exp],
    sqrt: [sqrt, reference.sqrt, positive],
    log: [log, reference.log, positive],
    sin: [sin, reference.sin],
    cos: [cos, reference.cos],
    affine: [(x) => affine(x, -1.5, 0.25), (x) => reference.affine(x, -1.5, 0.25)],
  }
  for (const [name, [build, f, domain]] of Object.entries(ops))
    for (const x of [[3, 5, 3, 17], [1], [130]])
      checkOp(`${name} [${x}]`, { inputs: { x }, domain, build: (v) => build(v.x), reference: (t) => f(t.x) })
})
