/** The research code to the letter: what the switch sets, and each accident against PyTorch or a closed form. */
import { describe, expect, test } from 'vitest'
import { resnet } from '../../models/index.js'
import { cleanRecipe, recipes } from '../../train/augment/recipe.js'
import { overlay, resolveConfig } from '../../train/config/config.js'
import { readoutLike } from '../../train/readout/readout.js'
import { readRecipe } from '../../train/recipes/index.js'
import { targetRate } from '../../train/run/schedule.js'
import { engine } from '../support/engine.js'
import { readJson } from '../support/goldens.js'

const research = { fidelity: 'research-code' } as const

describe('the switch', () => {
  test('sets every accident, over a recipe and under the command line', () => {
    const recipe = readRecipe('cifar10-bt-d256')
    const config = resolveConfig(overlay(recipe, research))
    expect(config).toMatchObject({
      initialWeights: 'pytorch',
      zeroInitResidual: false,
      stemRelu: false,
      bn: 'joint',
      lastBatch: 'keep',
      lambda: 0.02,
      batch: 512,
    })
    expect(config.augmentation).toEqual(recipes['cifar-research-code'])
    expect(resolveConfig(overlay(recipe, { ...research, stemRelu: true, bn: 'per-view' }))).toMatchObject({
      ...{ stemRelu: true, bn: 'per-view', lastBatch: 'keep' },
    })
    expect(resolveConfig(overlay(recipe, { ...research, augmentation: { size: 16 } })).augmentation).toEqual({
      ...recipes['cifar-research-code'],
      size: 16,
    })
    // A run's own configuration stays what it is.
    expect(resolveConfig(config)).toEqual(config)
  })

  test('chooses the augmentation of the data set, whole pictures, and BYOL as the research code has it', () => {
    expect(resolveConfig({ data: 'stl10', ...research }).augmentation).toEqual(recipes['stl-research-code'])
    const folder = resolveConfig(overlay(readRecipe('imagenet100-bt-d512'), { ...research, dataDir: 'pictures' }))
    expect(folder).toMatchObject({ resize: 'whole', resolution: 500 })
    expect(folder.augmentation).toEqual(recipes['imagenet100-research-code'])
    const byol = { symmetric: false, targetRate: 0.99, targetSchedule: 'constant', predictorNorm: false }
    expect(resolveConfig({ objective: 'byol', ...research })).toMatchObject(byol)
    expect(resolveConfig(research).targetSchedule).toBeUndefined()
  })

  test('is refused with another value, in one line', () => {
    expect(() => resolveConfig({ fidelity: 'exact' as 'research-code' })).toThrow(
      "`fidelity` 'exact': choose one of research-code",
    )
  })
})

test('the initial weights have PyTorch’s bounds and deviations', async () => {
  interface Init {
    name: string
    shape: number[]
    largest: number
    deviation: number
  }
  const { init } = readJson<{ init: Init[] }>('research_code.json')
  const gpu = await engine()
  const { dict } = resnet({ arch: 'resnet50', width: 64, initialWeights: 'pytorch', seed: 3 })
  for (const [golden, name] of [
    ['3x3', 'layer1.1.conv2.weight'],
    ['1x1', 'layer1.1.conv1.weight'],
    ['stem', 'conv1.weight'],
  ]) {
    const { shape, largest, deviation } = init.find((one) => one.name === golden)!
    const { variable, torchShape } = dict.entries.get(name)!
    expect(torchShape).toEqual(shape)
    const padded = variable.shape[2] > shape[1]
    const all = await gpu.read(variable)
    // The padding channel of the stem is zero.
    const values = padded ? all.filter((_, i) => Math.floor(i / shape[0]) % 4 < 3) : all
    const bound = 1 / Math.sqrt(shape[1] * shape[2] * shape[3])
    const most = values.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
    expect(most).toBeLessThanOrEqual(bound)
    expect(most / largest).toBeCloseTo(1, 2)
    const rms = Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length)
    // Two standard errors of the deviation of 1,728 uniform numbers are 3 %.
    expect(Math.abs(rms / deviation - 1)).toBeLessThan(0.05)
  }
  for (const v of dict.variables) gpu.release(v)
})

test('pretraining divides by the mean on STL-10 and ImageNet-100, clean views do not', () => {
  for (const [name, size] of [
    ['stl', 96],
    ['imagenet100', 128],
  ] as const) {
    const usual = recipes[name]
    const own = resolveConfig({ augmentation: { recipe: `${name}-research-code` } }).augmentation
    expect(own.std).toEqual(usual.mean)
    const clean = cleanRecipe(own)
    expect(clean).toMatchObject({ size, mean: usual.mean, std: usual.std })
  }
  expect(cleanRecipe(resolveConfig({}).augmentation)).toEqual(recipes.cifar)
})

test('the rate of BYOL’s target stays', () => {
  for (const step of [0, 50, 100]) expect(targetRate(step, 100, 0.99, 'constant')).toBe(0.99)
  expect(targetRate(100, 100, 0.99)).toBe(1)
})

describe('readouts', () => {
  test('have the batch of the pretraining', () => {
    expect(readoutLike(resolveConfig({ ...research, batch: 100 })).batch).toBe(100)
    expect(readoutLike(resolveConfig({ batch: 100 })).batch).toBeUndefined()
    expect(readoutLike(resolveConfig({ ...research }), 'cifar10', { batch: 64 }).batch).toBe(64)
  })

  test('on another data set take its size and normalisation', () => {
    const run = resolveConfig(research)
    const { recipe } = readoutLike(run, 'stl10')
    expect(recipe).toMatchObject({ size: 64, mean: recipes.stl.mean, scale: [0.08, 1], greyscale: 0.2 })
    expect(cleanRecipe(recipe)).toMatchObject({ size: 96, std: recipes.stl.std })
    expect(readoutLike(run, 'cifar10').recipe).toEqual(run.augmentation)
    expect(readoutLike(resolveConfig({}), 'stl10').recipe).toEqual(recipes.cifar)
    expect(readoutLike(resolveConfig({}), 'stl10', { targetViews: true }).recipe.size).toBe(64)
  })
})
