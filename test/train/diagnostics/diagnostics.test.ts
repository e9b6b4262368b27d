/** Spectrum and geometry of features, against NumPy and closed forms. */
import { describe, expect, test } from 'vitest'
import { Purpose, RandomStream, permutation } from '../../../engine/index.js'
import { resnet } from '../../../models/index.js'
import { recipes } from '../../../train/augment/recipe.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { adaptLambda } from '../../../train/diagnostics/adaptive_lambda.js'
import { collapseWarning } from '../../../train/diagnostics/collapse.js'
import { diagnose, diagnosis } from '../../../train/diagnostics/diagnose.js'
import { alignment, uniformity } from '../../../train/diagnostics/geometry.js'
import { lidar, rankMe } from '../../../train/diagnostics/ranks.js'
import { covarianceEigenvalues, effectiveRank, powerLawExponent } from '../../../train/diagnostics/spectrum.js'
import { extractFeatures } from '../../../train/readout/features.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'
import { readJson } from '../../support/goldens.js'
import { fillByFormula } from '../../support/networks.js'

interface Case {
  name: string
  count: number
  width: number
  eigenvalues: number[]
  alpha: number
  effectiveRank: number
  rankMe: number
  lidar: number
  alignment: number
  uniformity: number
}

const powerLaw = (count: number, alpha: number) => Array.from({ length: count }, (_, i) => 3 * (i + 1) ** -alpha)

describe('NumPy', () => {
  test.each(readJson<Case[]>('diagnostics.json'))('$name', ({ name, count, width, ...expected }) => {
    const features = formulaTensor(name, [count, width]).map((v, k) => v * ((k % width) + 1) ** -0.7 + 0.3)
    const noise = formulaTensor(`${name}/view`, [count, width])
    const view = features.map((v, k) => v + 0.2 * noise[k])
    const eigenvalues = covarianceEigenvalues(features, width)
    expect(eigenvalues).toHaveLength(Math.min(count, width))
    // Columns that are scaled here and in Python may differ by a rounding to f32.
    expectClose('eigenvalues', eigenvalues, expected.eigenvalues, 1e-6)
    expect(powerLawExponent(eigenvalues)).toBeCloseTo(expected.alpha, 5)
    expect(effectiveRank(eigenvalues)).toBeCloseTo(expected.effectiveRank, 4)
    expect(rankMe(features, width)).toBeCloseTo(expected.rankMe, 3)
    expect(lidar([features, view], width)).toBeCloseTo(expected.lidar, 3)
    expect(alignment([features, view], width)).toBeCloseTo(expected.alignment, 6)
    expect(uniformity(features, width)).toBeCloseTo(expected.uniformity, 6)
  })
})

describe('eigenspectrum', () => {
  test('has one direction for two opposite corners; too few features are an error', () => {
    const [first, ...rest] = covarianceEigenvalues(Float32Array.of(1, 2, 3, 3, 0, 1), 3)
    // The difference (2, −2, −2) has the variance 12 / 2 about the mean.
    expect(first).toBeCloseTo(6, 12)
    expect(rest).toEqual([0])
    // Equal features, whose mean is not exact.
    const same = new Float32Array(21).map((_, k) => [0.1, 0.7, 1e4][k % 3])
    expect([...covarianceEigenvalues(same, 3)]).toEqual([0, 0, 0])
    expect(() => covarianceEigenvalues(new Float32Array(3), 3)).toThrow(/3 numbers are not at least two features/)
    expect(() => covarianceEigenvalues(new Float32Array(7), 3)).toThrow(/^eigenspectrum: /)
  })

  test('gives the exponent of an exact power law of any length and scale', () => {
    for (const alpha of [0.3, 1, 2.5])
      for (const count of [5, 60, 100, 512]) expect(powerLawExponent(powerLaw(count, alpha))).toBeCloseTo(alpha, 10)
  })

  test('is fitted over ranks 4 to 100, up to the last eigenvalue above 0', () => {
    const bent = powerLaw(300, 1)
    for (const i of [0, 1, 2, 100, 101, 299]) bent[i] *= 50
    expect(powerLawExponent(bent)).toBeCloseTo(1, 10)
    for (const i of [3, 99]) expect(powerLawExponent(bent.map((v, k) => (k === i ? 2 * v : v)))).not.toBeCloseTo(1, 3)
    expect(powerLawExponent(bent.map((v, k) => (k < 40 ? v : 0)))).toBeCloseTo(1, 10)
    expect(powerLawExponent(powerLaw(4, 1))).toBeNaN()
    expect(powerLawExponent([])).toBeNaN()
  })

  test('has an effective rank equal to the number of equal directions', () => {
    expect(effectiveRank([2, 2, 2, 2, 0, 0])).toBeCloseTo(4, 12)
    expect(effectiveRank([7])).toBe(1)
    expect(effectiveRank([0, 0])).toBe(0)
    // Singular values 3 : 1, so p = 3/4 and 1/4.
    expect(effectiveRank([9, 1])).toBeCloseTo(4 / 3 ** 0.75, 12)
  })
})

describe('ranks without labels', () => {
  // Two orthogonal directions of equal length, and images at the corners of a square with views that differ little.
  const corners = Float32Array.of(1, 1, 1, -1, -1, 1, -1, -1)
  const near = corners.map((v, k) => v + (k % 4 < 2 ? 1e-3 : -1e-3))

  test('count equal directions; equal features have rank 1, zeros have rank 0', () => {
    expect(rankMe(corners, 2)).toBeCloseTo(2, 4)
    expect(lidar([corners, near], 2)).toBeCloseTo(2, 3)
    expect(rankMe(Float32Array.of(1, 2, 1, 2, 1, 2), 2)).toBeCloseTo(1, 4)
    expect(rankMe(new Float32Array(4), 2)).toBe(0)
    expect(lidar([new Float32Array(4), new Float32Array(4)], 2)).toBe(0)
    expect(() => lidar([corners], 2)).toThrow(/^lidar: needs at least two views/)
  })
})

describe('geometry', () => {
  test('alignment of equal, of orthogonal and of opposite views', () => {
    const a = Float32Array.of(1, 0, 0, 2)
    expect(alignment([a, a.map((v) => 3 * v)], 2)).toBe(0)
    expect(alignment([a, Float32Array.of(0, 5, 1, 0)], 2)).toBeCloseTo(2, 12)
    // Three views: two pairs at distance² 4, one at 0.
    expect(alignment([a, a, a.map((v) => -v)], 2)).toBeCloseTo(8 / 3, 12)
    expect(() => alignment([a], 2)).toThrow(/at least two views/)
  })

  test('uniformity of equal features and of the corners of a cross', () => {
    expect(uniformity(Float32Array.of(1, 1, 2, 2, 5, 5), 2)).toBeCloseTo(0, 12)
    // Four of the six pairs have distance² 2, two have 4.
    const cross = Float32Array.of(1, 0, -1, 0, 0, 1, 0, -1)
    expect(uniformity(cross, 2)).toBeCloseTo(Math.log((4 * Math.exp(-4) + 2 * Math.exp(-8)) / 6), 12)
    expect(() => uniformity(Float32Array.of(1, 1), 2)).toThrow(/at least two features/)
  })
})

test('λ rises for a steep spectrum, falls for a flat one, and is never below 0', () => {
  expect(adaptLambda(0.01, 1)).toBe(0.01)
  expect(adaptLambda(0.01, 1.7)).toBeCloseTo(0.0105, 12)
  expect(adaptLambda(0.01, 0.3)).toBeCloseTo(0.0095, 12)
  expect(adaptLambda(0.0001, 0.1)).toBe(0)
  expect(adaptLambda(0.01, NaN)).toBe(0.01)
})

describe('a warning of collapse', () => {
  const few = (effectiveRank: number, width: number) => collapseWarning({ effectiveRank, width }, 'barlow-twins')
  const point = { effectiveRank: 5, width: 64, alignment: 1e-10, uniformity: -2e-10 }

  test('comes below 1 % of the width, and below two dimensions', () => {
    expect(few(5.2, 512)).toBeUndefined()
    expect(few(5.1, 512)).toMatch(/collapsed \(their effective rank is 5\.1 of 512\): raise `lambda` or lower `lr`$/)
    expect(few(1.9, 8)).toMatch(/1\.9 of 8/)
    expect(few(1, 1)).toBeUndefined()
  })

  test('comes where features are the same, whatever their effective rank', () => {
    expect(few(0, 8)).toMatch(/all images have the same features/)
    expect(collapseWarning(point, 'simclr')).toMatch(
      /almost the same features, uniformity -2\.0e-10\): lower `lr`, or lower/,
    )
    expect(collapseWarning({ ...point, uniformity: -0.1, alignment: 0.02 }, 'simclr')).toBeUndefined()
  })

  test('comes where views do not differ', () => {
    const equal = { effectiveRank: 30, width: 64, uniformity: -1 }
    expect(collapseWarning({ ...equal, alignment: 0 }, 'byol')).toMatch(/^views of an image have the same features/)
    expect(collapseWarning({ ...equal, alignment: 0.01 }, 'byol')).toBeUndefined()
  })

  test.each([
    ['barlow-twins-leave-one-out', 'raise `lambda`', 'raise `lambda`'],
    ['barlow-twins-original', 'raise `lambda`', 'raise `lambda`'],
    // Few dimensions: less weight against the covariance. A point: more weight for the variance.
    ['vicreg', 'lower `lambda`', 'raise `lambda`'],
    ['vicreg-original', 'lower `lambda`', 'raise `mu`'],
    ['simclr', 'lower `temperature`', 'lower `temperature`'],
    ['byol', 'raise `targetRate`', 'raise `targetRate`'],
    ['spectral', 'raise `beta`', 'raise `beta`'],
  ] as const)('under %s to few dimensions: %s; to a point: %s', (objective, few, one) => {
    expect(collapseWarning({ effectiveRank: 1, width: 64 }, objective)).toContain(`: ${few} or lower \`lr\``)
    expect(collapseWarning(point, objective)).toContain(`: lower \`lr\`, or ${one}, and check that the images differ`)
  })
})

describe('a backbone', () => {
  const recipe = { ...recipes.cifar, size: 8 }
  const stream = new RandomStream(1, Purpose.subset)
  const images = Uint8Array.from({ length: 30 * 300 }, () => stream.integer(256))
  const dataset = fromArrays({ images, height: 10, width: 10 })

  test('is diagnosed on its clean view, with alignment from two random views', async () => {
    const gpu = await engine()
    const backbone = resnet({ arch: 'resnet18', width: 4, seed: 3 })
    fillByFormula(gpu, backbone.dict)
    const found = await diagnose(gpu, backbone, dataset, { recipe, seed: 2, objective: 'barlow-twins' })
    const width = backbone.features
    const options = { recipe, seed: 2, objective: 'barlow-twins' } as const
    const clean = await extractFeatures(gpu, backbone, dataset, options)
    expectClose('eigenvalues', found.eigenvalues, covarianceEigenvalues(clean, width).slice(0, 30), 1e-5)
    expect(found).toMatchObject({ images: 30, alpha: powerLawExponent(found.eigenvalues) })
    expect(found.effectiveRank).toBe(effectiveRank(found.eigenvalues))
    expect(found.uniformity).toBeCloseTo(uniformity(clean, width), 4)
    const views = [1, 2].map((view) => extractFeatures(gpu, backbone, dataset, { ...options, only: [view] }))
    expect(found.alignment).toBeCloseTo(alignment(await Promise.all(views), width), 4)
    expect(found.alignment).toBeGreaterThan(1e-4)
    expect(found.warning).toBeUndefined()
    expect((await diagnose(gpu, backbone, dataset, { ...options, images: 7 })).images).toBe(7)
    // It is recorded once and reads the current weights; comparing pairs uses fewer images.
    const again = await diagnosis(gpu, backbone, dataset, { ...options, pairedImages: 5, batch: 4 })
    expectClose('eigenvalues', (await again.spectrum()).eigenvalues, found.eigenvalues, 1e-5)
    const some = await again.read()
    const indices = permutation(2, 0, 30).subarray(0, 5)
    const five = await extractFeatures(gpu, backbone, dataset, { ...options, indices })
    expect(some.uniformity).toBeCloseTo(uniformity(five, width), 4)
    const made = gpu.counters
    const [{ variable }] = backbone.dict.entries.values()
    gpu.write(
      variable,
      (await gpu.read(variable)).map((x) => -x),
    )
    expect((await again.spectrum()).alpha).not.toBeCloseTo(found.alpha!, 5)
    expect(gpu.counters).toEqual(made)
    again.release()
  })

  test('that gives all images the same features has collapsed', async () => {
    const gpu = await engine()
    const backbone = resnet({ arch: 'resnet18', width: 4, seed: 3 })
    for (const v of backbone.dict.parameters.filter((v) => v.name.endsWith('conv1.weight')))
      gpu.write(v, new Float32Array(v.size))
    const found = await diagnose(gpu, backbone, dataset, { recipe, seed: 2, images: 10, objective: 'spectral' })
    expect(found.effectiveRank).toBe(0)
    expect(found.alpha).toBeUndefined()
    expect(found.warning).toMatch(/all images have the same features\): lower `lr`, or raise `beta`/)
  })
})
