/**
 * The recipes are the paper's runs: each one resolves, and its values are those of the paper's tables, repeated here.
 */
import { describe, expect, test } from 'vitest'
import { resolveConfig } from '../../train/config/config.js'
import { describeRecipe, readRecipe, recipeNames } from '../../train/recipes/index.js'

const bestLambda: Record<string, Record<number, number>> = {
  'cifar10-bt': {
    64: 0.04,
    128: 0.04,
    256: 0.02,
    512: 0.01,
    768: 0.002,
    1024: 0.002,
    1536: 0.001,
    2048: 0.001,
    2304: 0.001,
    2560: 0.0008,
    3072: 0.001,
    4096: 0.0004,
    6144: 0.001,
    8192: 0.0008,
  },
  'cifar10-vicreg': { 64: 20, 128: 20, 256: 25, 512: 25, 1024: 25, 2048: 75, 4096: 200, 8192: 800 },
  // STL-10 ran d = 2048 with .0008 too.
  'stl10-bt': { 64: 0.04, 128: 0.04, 256: 0.008, 512: 0.001, 1024: 0.0008, 2048: 0.002, 4096: 0.0004, 8192: 0.0004 },
  // d = 8192 is the baseline, which ran only with the λ that all widths share.
  'imagenet100-bt': { 128: 0.07, 256: 0.02, 512: 0.02, 1024: 0.005, 2048: 0.007, 4096: 0.003, 8192: 0.001 },
}
const sharedLambda: Record<string, number> = {
  'cifar10-bt': 0.0004,
  'cifar10-vicreg': 750,
  'stl10-bt': 0.0004,
  'imagenet100-bt': 0.001,
}

const suffixes = { v2: [2, 1], v4: [4, 1], v8: [8, 1], 'v4-half': [4, 0.5], 'v8-quarter': [8, 0.25] }
const byViews: Record<string, Partial<Record<keyof typeof suffixes, number>>> = {
  'cifar10-bt-d256': { v2: 0.02, v4: 0.01, v8: 0.01, 'v4-half': 0.01, 'v8-quarter': 0.006 },
  'cifar10-bt-d8192': { v2: 0.0008, v4: 0.0004, v8: 0.0004, 'v4-half': 0.0008, 'v8-quarter': 0.0004 },
  'stl10-bt-d256': { v2: 0.008, v4: 0.001, 'v4-half': 0.002, 'v8-quarter': 0.006 },
  // The baselines with the widest projector.
  'stl10-bt-d8192': { v2: 0.0004 },
  'cifar10-vicreg-d8192': { v2: 750 },
  'imagenet100-bt-d8192': { v2: 0.001 },
  'cifar10-vicreg-d256': { v2: 25, v4: 25, 'v4-half': 5, 'v8-quarter': 75 },
  'imagenet100-bt-d512': { v2: 0.02, v4: 0.01, v8: 0.01, 'v4-half': 0.004, 'v8-quarter': 0.01 },
}

const expected = new Map<string, { lambda: number; views: number; fraction: number; projectorDim: number }>()
for (const [prefix, row] of Object.entries(bestLambda))
  for (const [d, lambda] of Object.entries(row)) {
    const shared = { views: 2, fraction: 1, projectorDim: Number(d) }
    expected.set(`${prefix}-d${d}`, { ...shared, lambda })
    expected.set(`${prefix}-d${d}-fixed`, { ...shared, lambda: sharedLambda[prefix] })
  }
for (const [prefix, row] of Object.entries(byViews))
  for (const [suffix, lambda] of Object.entries(row)) {
    const [views, fraction] = suffixes[suffix as keyof typeof suffixes]
    expected.set(`${prefix}-${suffix}`, { lambda, views, fraction, projectorDim: Number(/d(\d+)$/.exec(prefix)![1]) })
  }

describe('recipes', () => {
  test('there is exactly one for each run of the tables', () => {
    expect(recipeNames().toSorted()).toEqual([...expected.keys(), 'cifar10-byol-d128', 'cifar10-simclr-d128'].sort())
  })

  test.each([...expected])('%s', (name, run) => {
    const config = resolveConfig({ dataDir: 'pictures', ...readRecipe(name) })
    expect(config).toMatchObject({
      ...run,
      objective: name.includes('vicreg') ? 'vicreg' : 'barlow-twins',
      arch: name.startsWith('imagenet100') ? 'resnet18' : 'resnet50',
      data: { cifar10: 'cifar10', stl10: 'stl10', imagenet100: 'folder' }[name.split('-')[0]],
      epochs: 100,
      lr: 1e-3,
      weightDecay: 1e-6,
      optimizer: 'adam',
      schedule: 'constant',
      // The paper's scripts train with autocast and a gradient scaler.
      precision: 'f16',
      width: 64,
      stem: 'cifar',
    })
    expect(config.augmentation.size).toBe({ cifar10: 32, stl10: 64, imagenet100: 128 }[name.split('-')[0]])
    // Runs that vary the projector have larger batches than runs that vary the views; ImageNet-100 ran on two GPUs.
    const data = name.split('-')[0] as 'cifar10' | 'stl10' | 'imagenet100'
    const many = /-v\d/.test(name)
    const batches = many
      ? { cifar10: 128, stl10: 100, imagenet100: 128 }
      : { cifar10: 512, stl10: 400, imagenet100: 256 }
    const images = name === 'imagenet100-bt-d512-v8' ? 125 : batches[data]
    expect([config.batch, config.accumulate]).toEqual([images, name.startsWith('imagenet') ? 2 : 1])
    const size = `${config.accumulate > 1 ? '2 × ' : ''}${images}`
    const network = name.startsWith('imagenet100') ? 'ResNet-18' : 'ResNet-50'
    expect(describeRecipe(name)).toMatch(/^(Accuracy by projector width|More views an image): /)
    expect(describeRecipe(name).endsWith(`. ${network}, 100 epochs of batches of ${size}, f16.`)).toBe(true)
  })

  test('SimCLR and BYOL are those of the research code', () => {
    const shared = { data: 'cifar10', arch: 'resnet50', views: 2, projectorDim: 128, batch: 512, epochs: 100, lr: 1e-3 }
    expect(resolveConfig(readRecipe('cifar10-simclr-d128'))).toMatchObject({ ...shared, temperature: 0.1 })
    const byol = { ...shared, symmetric: false, targetRate: 0.99, targetSchedule: 'constant', predictorNorm: false }
    expect(resolveConfig(readRecipe('cifar10-byol-d128'))).toMatchObject(byol)
  })

  test('an unknown name is answered with similar names', () => {
    expect(() => readRecipe('cifar10-bt-d256-v16')).toThrow(
      /^`recipe` 'cifar10-bt-d256-v16': there is no such recipe; near it: .*cifar10-bt-d256-v8.* \(npm run pretrain -- --list-recipes shows all\)$/,
    )
    expect(() => readRecipe('??')).toThrow(
      "`recipe` '??': there is no such recipe (npm run pretrain -- --list-recipes shows all)",
    )
  })
})
