import { describe, expect, test } from 'vitest'
import { learningRate, runLength, targetRate, type Schedule } from '../../../train/run/schedule.js'

const cosine: Schedule = { lr: 0.4, shape: 'cosine', warmupSteps: 10, steps: 110, floor: 0.001 }

describe('learning rate', () => {
  test('warms up linearly, from lr / w to lr', () => {
    expect(learningRate(0, cosine)).toBeCloseTo(0.04, 12)
    expect(learningRate(4, cosine)).toBeCloseTo(0.2, 12)
    expect(learningRate(9, cosine)).toBeCloseTo(0.4, 12)
  })

  test('then falls as a cosine to the floor, and stays there', () => {
    expect(learningRate(10, cosine)).toBeCloseTo(0.4, 12)
    expect(learningRate(60, cosine)).toBeCloseTo((0.4 * 1.001) / 2, 12)
    // At one and three quarters of the way: (1 ± 1/√2) / 2 of the difference.
    expect(learningRate(35, cosine)).toBeCloseTo(0.4 * (0.001 + 0.999 * (0.5 + Math.SQRT1_2 / 2)), 12)
    expect(learningRate(85, cosine)).toBeCloseTo(0.4 * (0.001 + 0.999 * (0.5 - Math.SQRT1_2 / 2)), 12)
    expect(learningRate(109, cosine)).toBeGreaterThan(0.0004)
    expect(learningRate(110, cosine)).toBeCloseTo(0.0004, 12)
    expect(learningRate(500, cosine)).toBeCloseTo(0.0004, 12)
  })

  test('is constant after the warm-up', () => {
    const constant: Schedule = { ...cosine, shape: 'constant', warmupSteps: 0 }
    for (const step of [0, 1, 109, 500]) expect(learningRate(step, constant)).toBe(0.4)
    expect(learningRate(0, { ...constant, warmupSteps: 4 })).toBeCloseTo(0.1, 12)
    expect(learningRate(4, { ...constant, warmupSteps: 4 })).toBe(0.4)
  })

  test('rises to the last step if the whole run is warm-up', () => {
    for (let step = 0; step < 5; step++)
      expect(learningRate(step, { ...cosine, warmupSteps: 5, steps: 5 })).toBeCloseTo((0.4 * (step + 1)) / 5, 12)
  })
})

test("the target's rate rises from its base to 1 by a cosine", () => {
  expect(targetRate(0, 200)).toBeCloseTo(0.99, 12)
  expect(targetRate(100, 200)).toBeCloseTo(0.995, 12)
  expect(targetRate(50, 200, 0.9)).toBeCloseTo(1 - 0.1 * (0.5 + Math.SQRT1_2 / 2), 12)
  expect(targetRate(200, 200)).toBe(1)
})

test('an epoch drops the last partial batch, and a run ends with its steps or its epochs, whichever come first', () => {
  const config = { batch: 8, accumulate: 2, epochs: 3, steps: undefined }
  expect(runLength(config, 47)).toEqual({ imagesPerStep: 16, stepsPerEpoch: 2, steps: 6 })
  expect(runLength(config, 48)).toEqual({ imagesPerStep: 16, stepsPerEpoch: 3, steps: 9 })
  expect(runLength({ ...config, steps: 4 }, 47).steps).toBe(4)
  expect(runLength({ ...config, steps: 40 }, 47).steps).toBe(6)
})
