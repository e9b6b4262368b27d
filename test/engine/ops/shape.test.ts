import { describe, expect, test } from 'vitest'
import { constant, gather, input, mean, reshape, sliceRows, sum } from '../../../engine/index.js'
import { checkOp } from '../../support/check.js'
import * as reference from '../../support/reference/index.js'

describe('sum and mean', () => {
  const cases: [shape: number[], axes: number[] | undefined][] = [
    [[3, 5, 7, 17], undefined],
    [[1], undefined],
    [[130], undefined],
    [[67, 130], [0]],
    [[5, 130], [1]],
    [
      [3, 5, 7, 17],
      [0, 1, 2],
    ],
    [[3, 5, 17], [1]],
    [[3, 5, 17], [0]],
    [
      [3, 5, 7],
      [0, 1, 2],
    ],
    [[2100], undefined],
  ]
  for (const [x, axes] of cases)
    for (const name of ['sum', 'mean'] as const)
      checkOp(`${name} of [${x}] over ${axes ? `axes ${axes}` : 'everything'}`, {
        inputs: { x },
        build: (v) => ({ sum, mean })[name](v.x, axes),
        reference: (t) => reference[name](t.x, axes),
      })
  test('a missing axis is an error that names the op', () => {
    expect(() => sum(input('x', [3, 5]), [2])).toThrow(/sum.*\[3, 5\]/)
  })
})

describe('rows', () => {
  const indices = [4, 0, 0, 3, 4, 4, 1]
  for (const shape of [
    [5, 17],
    [5, 130],
    [5, 4],
  ])
    checkOp(`gather rows of [${shape}], some of them again`, {
      inputs: { x: shape },
      build: ({ x }) => gather(x, constant(Uint32Array.from(indices))),
      reference: ({ x }) => reference.gather(x, indices),
    })
  for (const [start, count] of [
    [0, 2],
    [1, 3],
    [3, 2],
  ])
    checkOp(`${count} rows from row ${start}`, {
      inputs: { x: [5, 3, 17] },
      build: ({ x }) => sliceRows(x, start, count),
      reference: ({ x }) =>
        reference.gather(
          x,
          Array.from({ length: count }, (_, i) => start + i),
        ),
    })
  checkOp('reshape', {
    inputs: { x: [5, 3, 17] },
    build: ({ x }) => reshape(x, [17, 15]),
    reference: ({ x }) => ({ shape: [17, 15], data: x.data }),
  })
  test('shape errors name the op and both shapes', () => {
    expect(() => reshape(input('x', [3, 5]), [4, 4])).toThrow(/reshape.*\[3, 5\].*\[4, 4\]/)
    expect(() => sliceRows(input('x', [3, 5]), 1, 3)).toThrow(/sliceRows.*\[3, 5\]/)
  })
})
