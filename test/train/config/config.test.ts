/** Configurations: defaults, and one clear line for each mistake. */
import { describe, expect, test } from 'vitest'
import { overlay, resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { recipes } from '../../../train/augment/recipe.js'

describe('resolveConfig', () => {
  test('fills in the paper’s CIFAR recipe', () => {
    expect(resolveConfig({})).toMatchObject({
      data: 'cifar10',
      arch: 'resnet18',
      width: 64,
      views: 4,
      projectorDim: 256,
      lambda: 0.01,
      lr: 1e-3,
      weightDecay: 1e-6,
      bn: 'joint',
      precision: 'f32',
    })
    expect(resolveConfig({ augmentation: { size: 16 } }).augmentation).toEqual({ ...recipes.cifar, size: 16 })
    expect(resolveConfig({ views: undefined }).views).toBe(4)
  })

  test.each<[PartialConfig, string]>([
    [{ width: 0 }, '`width` 0: must be at least 1'],
    [{ views: 1 }, '`views` 1: must be at least 2'],
    [{ views: 2.5 }, '`views` 2.5: must be a whole number'],
    [{ lambda: NaN }, '`lambda` NaN: must be a number'],
    [{ lambda: -1 }, '`lambda` -1: must be at least 0'],
    [{ lr: 0 }, '`lr` 0: must be more than 0'],
    [{ fraction: 2 }, '`fraction` 2: must be at most 1'],
    [{ arch: 'resnet99' as 'resnet18' }, "`arch` 'resnet99': choose one of resnet18, resnet34, resnet50"],
    [{ precision: 'f64' as 'f32' }, "`precision` 'f64': choose one of f32, f16"],
    [{ bn: 'sync' as 'joint' }, "`bn` 'sync': choose one of joint, per-view"],
    [
      { viewChunk: 2 },
      '`viewChunk` 2: joint batch-norm needs all views at once; use per-view statistics with `bn` per-view',
    ],
    [{ viewChunk: 3, views: 4, bn: 'per-view' }, '`viewChunk` 3: must divide the number of views, `views` 4'],
    [{ viewChunk: 8, views: 4, bn: 'per-view' }, '`viewChunk` 8: must divide the number of views, `views` 4'],
    [{ viewChunk: 0, bn: 'per-view' }, '`viewChunk` 0: must be at least 1'],
    [{ augmentation: { size: 0 } }, 'augmentation.size 0: must be at least 1'],
    [{ milk: 1 } as PartialConfig, "unknown option 'milk' in the configuration"],
    [{ augmentation: { milk: 1 } as object }, "unknown option 'milk' in augmentation"],
    [
      { 'projector-dim': 1 } as PartialConfig,
      "unknown option 'projector-dim' in the configuration; did you mean projectorDim?",
    ],
    [
      { augmentation: { jitter: { saturaton: 1 } } as object },
      "unknown option 'saturaton' in augmentation.jitter; did you mean saturation?",
    ],
    [{ augmentation: { recipe: 'mnist' } }, "`augmentation` 'mnist': choose one of cifar, stl, imagenet100,"],
    [{ objective: 'mocov3' as 'byol' }, "`objective` 'mocov3': choose one of barlow-twins, "],
    [{ beta: 1 }, '`beta` 1: `objective` barlow-twins has no such parameter; it takes `lambda`'],
    [{ objective: 'vicreg', mu: 3 }, '`mu` 3: `objective` vicreg has no such parameter; it takes `lambda`'],
    [
      { objective: 'simclr', lambda: 3 },
      '`lambda` 3: `objective` simclr has no such parameter; it takes `temperature`',
    ],
    [{ objective: 'byol', views: 4 }, '`objective` byol is defined for 2 views, not 4: use `views` 2'],
    [
      { predictorHidden: 64 },
      '`predictorHidden` 64: `objective` barlow-twins has no predictor; byol and fastsiam have',
    ],
    [{ momentum: 0.9 }, '`momentum` 0.9: `optimizer` adam has no such parameter; `optimizer` sgd has'],
    [{ momentum: 1, optimizer: 'sgd' }, '`momentum` 1: must be less than 1'],
    [{ lrFloor: 0.1 }, '`lrFloor` 0.1: `schedule` constant has no such parameter; `schedule` cosine has'],
    [{ warmupEpochs: 200 }, "`warmupEpochs` 200: must be at most the run's `epochs` 100"],
    [{ projectorDepth: 4 as 3 }, '`projectorDepth` 4: choose one of 2, 3'],
    [
      { lambda: 'auto', objective: 'vicreg' },
      '`lambda` auto: `objective` vicreg has no rule for it; barlow-twins has one',
    ],
    [{ radius: 0.1 }, '`radius` 0.1: only `secondGradient` sam has a radius'],
    [{ secondGradient: 'sam', accumulate: 2 }, '`secondGradient` sam: cannot be combined with `accumulate` 2'],
    [{ secondGradient: 'extragradient', precision: 'f16' }, '`secondGradient` extragradient: needs unscaled gradients'],
    [{ secondGradient: 'sam', viewChunk: 2, bn: 'per-view' }, '`viewChunk` 2: `secondGradient` sam needs all views'],
    [{ gateBudget: 0.5, objective: 'byol' }, '`gateBudget` 0.5: needs `precision` f32, all views at once'],
    [{ adaptiveLambda: true, objective: 'vicreg' }, '`adaptiveLambda`: `objective` vicreg has no λ that can change'],
    [
      { viewChunk: 1, bn: 'per-view', objective: 'byol', views: 2 },
      '`viewChunk` 1: `objective` byol needs both views at once',
    ],
    [
      { augmentation: { crops: [{ views: 3, size: 8, scale: [0.1, 1] }] } },
      'augmentation.crops: 3 views are not the 4 of an image',
    ],
  ])('%j', (partial, message) => {
    expect(() => resolveConfig(partial)).toThrow(message)
  })
})

test('every choice has its own parameters', () => {
  expect(resolveConfig({ objective: 'vicreg-original' })).toMatchObject({ lambda: 25, mu: 25 })
  expect(resolveConfig({ objective: 'byol', views: 2 })).toMatchObject({ symmetric: true, targetRate: 0.99 })
  expect(resolveConfig({ objective: 'byol', views: 2 })).not.toHaveProperty('lambda')
  expect(resolveConfig({ objective: 'byol' })).not.toHaveProperty('predictorHidden')
  // Objectives for two views have two views by default.
  expect(resolveConfig({ objective: 'byol' }).views).toBe(2)
  expect(resolveConfig({ objective: 'barlow-twins-original' }).views).toBe(2)
  expect(resolveConfig({ objective: 'vicreg' }).views).toBe(4)
  expect(resolveConfig({ optimizer: 'lars', schedule: 'cosine' })).toMatchObject({ momentum: 0.9, lrFloor: 0 })
  expect(resolveConfig({})).not.toHaveProperty('momentum')
})

test('λ auto follows from the width and the views that the configuration ends with', () => {
  expect(resolveConfig({ lambda: 'auto', views: 2, projectorDim: 64 }).lambda).toBe(3 / 64)
  expect(resolveConfig(overlay({ lambda: 'auto', views: 2 }, { projectorDim: 1024 })).lambda).toBe(3 / 1024)
  expect(resolveConfig(overlay({ lambda: 0.1 }, { lambda: 'auto' })).lambda).toBe((3 / 256) * (3 / 4) ** 2)
  // The resolved value is a number, so a run keeps it.
  const resolved = resolveConfig({ lambda: 'auto' })
  expect(resolveConfig({ ...resolved, views: 8 }).lambda).toBe(resolved.lambda)
})

test('a folder of pictures has the stem for large images; a configuration that names another stem keeps it', () => {
  expect(resolveConfig({ data: 'folder' }).stem).toBe('imagenet')
  expect(resolveConfig({ data: 'cifar10' }).stem).toBe('cifar')
  expect(resolveConfig({ data: 'folder', stem: 'cifar' }).stem).toBe('cifar')
  expect(resolveConfig({ data: 'folder', resize: 'bilinear' }).resize).toBe('bilinear')
  expect(resolveConfig({ data: 'folder' })).not.toHaveProperty('resize')
  expect(() => resolveConfig({ resize: 'cubic' as 'lanczos' })).toThrow("`resize` 'cubic': choose one of")
})

test('augmentations: the recipe of the data set or a named one, with changes', () => {
  expect(resolveConfig({ data: 'stl10' }).augmentation).toEqual(recipes.stl)
  expect(resolveConfig({ data: 'folder' }).augmentation).toEqual(recipes.imagenet100)
  const changed = resolveConfig({
    augmentation: { recipe: 'imagenet100', size: 64, jitter: { hue: 0.2 } },
  }).augmentation
  expect(changed).toEqual({ ...recipes.imagenet100, size: 64, jitter: { ...recipes.imagenet100.jitter, hue: 0.2 } })
  // A resolved configuration resolves to itself.
  expect(resolveConfig({ augmentation: changed }).augmentation).toEqual(changed)
})

describe('overlay', () => {
  test('the upper configuration wins, field by field', () => {
    const under: PartialConfig = { lambda: 0.02, batch: 32, augmentation: { size: 64, jitter: { hue: 0.1 } } }
    const over: PartialConfig = { batch: 64, views: undefined, augmentation: { jitter: { brightness: 0 } } }
    expect(overlay(under, over)).toEqual({
      lambda: 0.02,
      batch: 64,
      augmentation: { size: 64, jitter: { hue: 0.1, brightness: 0 } },
    })
    expect(overlay(under, { augmentation: { recipe: 'stl' } }).augmentation).toEqual({ recipe: 'stl' })
  })

  test('another choice drops the options of the earlier choice', () => {
    const under: PartialConfig = { lambda: 0.02, optimizer: 'sgd', momentum: 0.8 }
    expect(resolveConfig(overlay(under, { objective: 'vicreg' }))).toMatchObject({ lambda: 25, momentum: 0.8 })
    expect(overlay(under, { objective: 'barlow-twins', optimizer: 'adam' })).toEqual({
      lambda: 0.02,
      objective: 'barlow-twins',
      optimizer: 'adam',
    })
  })
})
