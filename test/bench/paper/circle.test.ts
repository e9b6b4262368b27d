/** Learning dynamics on the circle against the closed form. */
import { describe, expect, test } from 'vitest'
import { judge } from '../../../bench/paper/claims.js'
import { closedForm, descend, eigenvalue, halfTimes, relativeSpread } from '../../../bench/paper/experiments/circle.js'
import { engine } from '../../support/engine.js'
import { contextOf, experimentNamed, tiny } from './synthetic_results.js'

describe('the circle', () => {
  test('has a closed form of the squared scales', () => {
    expect(eigenvalue(1)).toBeCloseTo(Math.sin(0.4) / 0.4, 12)
    expect(closedForm(8, 0.1)).toBe(0)
    expect(closedForm(4, 5)).toBeCloseTo(1 - (1 - Math.sin(1.6) / 1.6) ** 2 / 10, 12)
  })

  test('gradient descent on the engine converges to the closed form', async () => {
    const setting = { name: '', beta: 0.3, step: 0.15, readings: 20, stride: 12 }
    const { scales: over, times } = await descend(await engine(), 9, 3, setting)
    expect(times).toHaveLength(20)
    const last = over[over.length - 1]
    expect(last).toHaveLength(4)
    last.forEach((value, i) => expect(Math.abs(value - closedForm(i + 1, 0.3))).toBeLessThan(1e-3))
  })

  test('the experiment agrees with its claim', async () => {
    const { context } = await contextOf(tiny)
    const { claims } = await experimentNamed('dynamics').run({ ...context, seeds: [1, 2] })
    expect(claims.map((claim) => judge(claim).verdict)).toEqual(['agrees'])
    for (const error of claims[0].perSeed) expect(error).toBeLessThan(1e-5)
  })

  test('half-times are interpolated, and their spread is relative to the mean', () => {
    const trajectory = { times: [0, 1, 2], scales: [[0, 0], [0.5, 0.25], [0.8, 1]] } // prettier-ignore
    expect(halfTimes(trajectory, [1, 2])).toEqual([0.8, 1 + 0.25 / 0.75])
    expect(relativeSpread([1, 3])).toBe(1)
  })
})
