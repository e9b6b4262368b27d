/** The finite world of the kernel experiments, against dense algebra on a small world. */
import { Matrix, SingularValueDecomposition } from 'ml-matrix'
import { describe, expect, test } from 'vitest'
import { closedForm, eigenvalue } from '../../../bench/paper/experiments/circle.js'
import { slope } from '../../../bench/paper/experiments/kernel_views.js'
import { bestLambda } from '../../../bench/paper/experiments/lambda.js'
import { flow } from '../../../bench/paper/world/competition.js'
import { learn, pictureVariable, type LearnerName } from '../../../bench/paper/world/learners.js'
import { effectiveRankOf, overlap, principalCosines } from '../../../bench/paper/world/spans.js'
import { eigen, makeWorld, Sampler, spectrumOf } from '../../../bench/paper/world/world.js'
import { Purpose, RandomStream } from '../../../engine/index.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'

const [IMAGES, COUNT] = [6, 24]

/** Random probabilities P [IMAGES, COUNT] and ρ. */
function probabilities() {
  const random = new RandomStream(5, Purpose.weights)
  const forward = Float64Array.from({ length: IMAGES * COUNT }, () => random.uniform(0, 1) ** 4)
  for (let x = 0; x < IMAGES; x++) {
    const row = forward.subarray(x * COUNT, (x + 1) * COUNT)
    const total = row.reduce((a, b) => a + b)
    row.forEach((p, z) => (row[z] = p / total))
  }
  const weights = Float64Array.from({ length: COUNT }, (_, z) =>
    Array.from({ length: IMAGES }, (__, x) => forward[x * COUNT + z] / IMAGES).reduce((a, b) => a + b),
  )
  return { forward, weights }
}

describe('a world', () => {
  const { forward, weights } = probabilities()
  const { eigenvalues, eigenfunction } = spectrumOf(forward, weights, IMAGES)
  /** T f(z) = Σₓ p(x | z) Σ_z' P(x, z') f(z'). */
  const T = (f: Float64Array): Float64Array =>
    f.map((_, z) => {
      let total = 0
      for (let x = 0; x < IMAGES; x++) {
        let mean = 0
        for (let other = 0; other < COUNT; other++) mean += forward[x * COUNT + other] * f[other]
        total += (forward[x * COUNT + z] / (IMAGES * weights[z])) * mean
      }
      return total
    })

  test('has eigenfunctions of T, orthonormal under ρ, the first of them constant', () => {
    const functions = Array.from({ length: IMAGES }, (_, k) => eigenfunction(k))
    functions.forEach((f, k) => {
      T(f).forEach((value, z) => expect(value).toBeCloseTo(eigenvalues[k] * f[z], 9))
      functions.forEach((g, l) => {
        const product = f.reduce((sum, value, z) => sum + weights[z] * value * g[z], 0)
        expect(product).toBeCloseTo(k === l ? 1 : 0, 9)
      })
    })
    expect(eigenvalues[0]).toBeCloseTo(1, 12)
    for (const value of functions[0]) expect(Math.abs(value)).toBeCloseTo(1, 9)
    expect([...eigenvalues].sort((a, b) => b - a)).toEqual([...eigenvalues])
  })

  test('is sampled by its probabilities: augmentations of images, and of pictures by T', () => {
    const sampler = new Sampler({ images: IMAGES, count: COUNT, forward, weights }, 3)
    const draws = 20000
    const [fromImage, fromPicture] = [new Float64Array(COUNT), new Float64Array(COUNT)]
    for (let i = 0; i < draws; i++) {
      fromImage[sampler.ofImageAt(2)] += 1 / draws
      fromPicture[sampler.ofPictureAt(7)] += 1 / draws
    }
    const delta = (at: number) => Float64Array.from({ length: COUNT }, (_, z) => (z === at ? 1 : 0))
    for (let z = 0; z < COUNT; z++) {
      expect(Math.abs(fromImage[z] - forward[2 * COUNT + z])).toBeLessThan(0.015)
      expect(Math.abs(fromPicture[z] - T(delta(z))[7])).toBeLessThan(0.015)
    }
    const list = sampler.batch(3, true)
    expect(list).toHaveLength(4 * IMAGES)
  })

  test('is sampled in strata: each picture occurs as often as expected, to less than one time', () => {
    const [views, draws] = [3, 20]
    const list = new Sampler({ images: IMAGES, count: COUNT, forward, weights }, 3).batch(views, false, draws)
    const counts = new Float64Array(IMAGES * COUNT)
    // Row b is of image b mod IMAGES.
    list.forEach((z, row) => counts[(row % IMAGES) * COUNT + z]++)
    counts.forEach((n, i) => expect(Math.abs(n - views * draws * forward[i])).toBeLessThan(1))
  })

  test('is sampled so that the operator of two views has the eigenfunctions of T', () => {
    // n samples of an image, each picture n P times: two of them give (n T − I) / (n − 1), up to the strata's width.
    const [n, batches] = [20, 4000]
    const sampler = new Sampler({ images: IMAGES, count: COUNT, forward, weights }, 4)
    const pairs = new Float64Array(COUNT * COUNT)
    for (let i = 0; i < batches; i++) {
      const list = sampler.batch(2, false, n / 2)
      const rows = list.length / 2
      for (let b = 0; b < rows; b++) pairs[list[b] * COUNT + list[rows + b]] += 1 / (batches * rows)
    }
    const product = (f: Float64Array, g: Float64Array): number =>
      f.reduce((sum, a, z) => sum + g.reduce((s, b, y) => s + a * b * pairs[z * COUNT + y], 0), 0)
    for (let k = 1; k <= 3; k++)
      for (let l = 1; l <= 3; l++) {
        const expected = k === l ? (n * eigenvalues[k] - 1) / (n - 1) : 0
        expect(Math.abs(product(eigenfunction(k), eigenfunction(l)) - expected)).toBeLessThan(0.03)
      }
  })

  test('is sampled with clean pictures: they occur as expected, and the views follow T', () => {
    const [views, draws] = [4, 2000]
    const list = new Sampler({ images: IMAGES, count: COUNT, forward, weights }, 5).batch(views, true, draws)
    const rows = draws * IMAGES
    const clean = list.subarray(views * rows)
    const counts = new Float64Array(IMAGES * COUNT)
    clean.forEach((z, row) => counts[(row % IMAGES) * COUNT + z]++)
    counts.forEach((n, i) => expect(Math.abs(n - draws * forward[i])).toBeLessThan(1))
    for (let k = 1; k <= 3; k++) {
      const f = eigenfunction(k)
      let product = 0
      for (let row = 0; row < views * rows; row++) product += (f[list[row]] * f[clean[row % rows]]) / (views * rows)
      expect(Math.abs(product - eigenvalues[k])).toBeLessThan(0.03)
    }
  })
})

describe('a span', () => {
  const { forward, weights } = probabilities()
  const { eigenfunction } = spectrumOf(forward, weights, IMAGES)
  const targets = [1, 2].map((k) => eigenfunction(k))
  const table = (functions: readonly Float64Array[]): Float64Array =>
    Float64Array.from(
      { length: COUNT * functions.length },
      (_, i) => functions[i % functions.length][Math.floor(i / functions.length)],
    )

  test('that holds the targets overlaps by 1, whatever its basis, scale and mean', () => {
    const [f, g] = targets
    const mixed = [f.map((v, z) => 3 * v + g[z] + 5), g.map((v, z) => 0.01 * (v - f[z]))]
    expect(overlap(table(mixed), 2, targets, weights)).toBeCloseTo(1, 6)
  })

  test('that holds one of two overlaps by a half, also if columns repeat', () => {
    expect(overlap(table([targets[0], targets[0]]), 2, targets, weights)).toBeCloseTo(0.5, 6)
    expect(overlap(table([targets[0], eigenfunction(3)]), 2, targets, weights)).toBeCloseTo(0.5, 6)
  })

  test('has the principal angles and the effective rank of a known one', () => {
    const columns = new Matrix([
      [1, 0],
      [0, Math.cos(0.3)],
      [0, Math.sin(0.3)],
    ])
    const [first, second] = principalCosines(columns)
    expect(first).toBeCloseTo(1, 12)
    expect(second).toBeCloseTo(Math.cos(0.3) ** 2, 12)
    expect(effectiveRankOf(columns)).toBeCloseTo(2, 12)
    expect(effectiveRankOf(new Matrix([[1, 1], [1, 1]]))).toBeCloseTo(1, 6) // prettier-ignore
    expect(new SingularValueDecomposition(columns).diagonal).toHaveLength(2)
  })
})

test('a flow without competition ends at the closed form of the circle', () => {
  const eigenvalues = [1, 2, 3].map(eigenvalue)
  const beta = 0.2
  const options = { beta, width: 3, initial: 0.01, nullModes: 5, step: 0.05, until: 200, readings: 20, seed: 1 }
  const list = flow(eigenvalues, options)
  const { cosines, energy, shares, time } = list[list.length - 1]
  expect(time).toBeCloseTo(200, 6)
  const expected = [1, 2, 3].map((k) => closedForm(k, beta))
  const total = expected.reduce((a, b) => a + b)
  expect(energy).toBeCloseTo(total / 3, 6)
  shares.forEach((share, k) => expect(share).toBeCloseTo(expected[k] / total, 6))
  for (const cosine of cosines) expect(cosine).toBeCloseTo(1, 6)
})

test('the slope of a power law is its exponent', () => {
  expect(slope([2, 4, 8], [2, 4, 8].map((x) => 3 * x ** -0.5))).toBeCloseTo(-0.5, 12) // prettier-ignore
})

test('the best λ is the vertex of a parabola over log λ, or the end of the grid', () => {
  const lambdas = [0.01, 0.02, 0.04, 0.08]
  const peak = 0.03
  const accuracies = lambdas.map((λ) => 30 - Math.log(λ / peak) ** 2)
  expect(bestLambda(lambdas, accuracies)).toBeCloseTo(peak, 9)
  expect(bestLambda(lambdas, [1, 2, 3, 4])).toBe(0.08)
  expect(bestLambda(lambdas, [4, 3, 2, 1])).toBe(0.01)
  expect(bestLambda(lambdas, [1, 1, 1, 1])).toBe(0.01)
})

test('every learner moves toward the dominant eigenfunctions of a world of pictures', async () => {
  const device = await engine()
  const images = fromArrays({ ...colourfulImages(16), labels: new Uint32Array(16), classes: ['one'] })
  const world = await makeWorld(device, images, { images: 16, views: 8, size: 8, jump: 0.05 })
  const row = world.forward.subarray(0, world.count)
  expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 9)
  expect(eigen(world.kernel).values[0]).toBeCloseTo(1, 9)
  const pictures = pictureVariable(world)
  const targets = [1, 2].map((k) => world.eigenfunction(k))
  try {
    const kinds: [LearnerName, 'spectral' | 'vicreg'][] = [
      ['table', 'spectral'],
      ['mlp', 'vicreg'],
      ['resnet', 'vicreg'],
    ]
    for (const [learner, objective] of kinds) {
      const options: Record<string, number> = objective === 'vicreg' ? { lambda: 1 } : { beta: 1 }
      const draws = learner === 'table' ? 2 : 1
      const training = { learner, objective, options, views: 4, draws, width: 3, steps: 60, rate: 0.03 }
      const { before, after } = await learn(device, world, pictures, training, { seed: 1 })
      const [first, last] = [before, after].map((z) => overlap(z, 3, targets, world.weights))
      expect(last, `${learner}, ${objective}`).toBeGreaterThan(first)
    }
  } finally {
    device.release(pictures)
  }
})
