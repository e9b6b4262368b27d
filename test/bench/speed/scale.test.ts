/** Models of all-reduces and of steps that hide them; the plans of steps of several ranks. */
import { expect, test } from 'vitest'
import { allReduceSeconds, fitLink, stepTime } from '../../../bench/speed/scale/model.js'
import { planScaling, plannedLinks, stepShape } from '../../../bench/speed/scale/plan.js'
import { workload } from '../../../bench/speed/workload.js'
import { buildNetwork } from '../../../train/step/network.js'
import { configOf } from '../../../bench/speed/workload.js'

/** Simulates a ring: N − 1 rounds of sums and N − 1 of copies, each rank sends 1/N of the bytes in every round. */
function simulatedRing(alpha: number, beta: number, ranks: number, bytes: number): number {
  let clock = 0
  for (let round = 0; round < 2 * (ranks - 1); round++) clock += alpha + (bytes / ranks) * beta
  return clock
}

/** Recursive halving, then doubling: half of the bytes, a quarter, …, and back. */
function simulatedTree(alpha: number, beta: number, ranks: number, bytes: number): number {
  let clock = 0
  for (let part = bytes / 2; part >= bytes / ranks; part /= 2) clock += 2 * (alpha + part * beta)
  return clock
}

test('the formulas of ring and tree are what their messages take', () => {
  const link = { alpha: 3e-5, beta: 1e-9 }
  for (const ranks of [2, 4, 8, 64]) {
    expect(allReduceSeconds('ring', link, ranks, 1e6)).toBeCloseTo(simulatedRing(3e-5, 1e-9, ranks, 1e6), 12)
    expect(allReduceSeconds('tree', link, ranks, 1e6)).toBeCloseTo(simulatedTree(3e-5, 1e-9, ranks, 1e6), 12)
  }
})

test('a fit finds the link that made the times, also with noise, and never a negative one', () => {
  const link = { alpha: 2e-5, beta: 4e-10 }
  const sizes = [1e3, 1e4, 1e5, 1e6, 1e7]
  const measured = [2, 4].flatMap((ranks) =>
    sizes.map((bytes, i) => ({
      ...{ ranks, bytes },
      seconds: allReduceSeconds('ring', link, ranks, bytes) * (1 + 0.05 * Math.sin(7 * i + ranks)),
    })),
  )
  const found = fitLink('ring', measured)
  expect(Math.abs(found.alpha / link.alpha - 1)).toBeLessThan(0.1)
  expect(Math.abs(found.beta / link.beta - 1)).toBeLessThan(0.1)
  const falling = [1e3, 1e6].map((bytes) => ({ ranks: 2, bytes, seconds: 1e-3 / bytes ** 0.1 }))
  expect(fitLink('ring', falling).beta).toBe(0)
  expect(
    fitLink(
      'ring',
      [1e3, 1e6].map((bytes) => ({ ranks: 2, bytes, seconds: bytes ** 1.2 * 1e-9 })),
    ).alpha,
  ).toBe(0)
})

test('exchanges hide behind the computation that follows them', () => {
  const reduce = (bytes: number): number => bytes
  // Half of the first exchange fits before the second departs, and the second ends 2 s after the computation.
  const late = stepTime(10, [{ after: 0.5, bytes: 2 }, { after: 1, bytes: 2 }], reduce) // prettier-ignore
  expect(late).toEqual({ seconds: 12, exchange: 4, hidden: 0.5 })
  expect(stepTime(10, [{ after: 0.5, bytes: 5 }], reduce)).toEqual({ seconds: 10, exchange: 5, hidden: 1 })
  // The link is busy when the second departs.
  expect(stepTime(10, [{ after: 0.5, bytes: 8 }, { after: 0.6, bytes: 4 }], reduce).seconds).toBe(17) // prettier-ignore
})

test('the plan of a step exchanges every gradient once, the last at the end; more views scale further', () => {
  const step = workload({ width: 16, batch: 8 })
  const shape = stepShape(step)
  const { backbone, projector } = buildNetwork(configOf(step))
  const parameters = backbone.dict.parameterCount + projector.dict.parameterCount
  // Running statistics and the loss travel with the last bucket.
  expect(shape.bytes).toBeGreaterThanOrEqual(4 * parameters)
  expect(shape.bytes).toBeLessThan(4.1 * parameters)
  expect(shape.departures.at(-1)!.after).toBe(1)
  const more = { step: { ...step, views: 8 }, shape: { ...shape, flops: 4 * shape.flops } }
  const planned = planScaling([{ step, shape }, more], plannedLinks(1))
  const at = (views: number, ranks: number): number =>
    planned.find((one) => one.step.views === views && one.ranks === ranks)!.efficiency
  expect(at(2, 1)).toBe(1)
  expect(at(2, 1024)).toBeLessThan(at(2, 8))
  expect(at(8, 64)).toBeGreaterThan(at(2, 64))
})
