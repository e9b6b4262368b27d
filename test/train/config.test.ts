/** Configurations: defaults, and one clear line for each thing that will not do. */
import { describe, expect, test } from 'vitest'
import { resolveConfig, type PartialConfig } from '../../train/config.js'
import { recipes } from '../../train/augment/recipe.js'

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
    [{ width: 0 }, '--width 0: must be at least 1'],
    [{ views: 1 }, '--views 1: must be at least 2'],
    [{ views: 2.5 }, '--views 2.5: must be a whole number'],
    [{ lambda: NaN }, '--lambda NaN: must be a number'],
    [{ lambda: -1 }, '--lambda -1: must be at least 0'],
    [{ lr: 0 }, '--lr 0: must be more than 0'],
    [{ fraction: 2 }, '--fraction 2: must be at most 1'],
    [{ arch: 'resnet99' as 'resnet18' }, "--arch 'resnet99': choose one of resnet18, resnet34, resnet50"],
    [{ precision: 'f64' as 'f32' }, "--precision 'f64': choose one of f32, f16"],
    [{ bn: 'sync' as 'joint' }, "--bn 'sync': choose one of joint, per-view"],
    [
      { viewChunk: 2 },
      "--view-chunk 2: joint batch-norm needs all views at once; take each view's statistics with --bn per-view",
    ],
    [{ viewChunk: 3, views: 4, bn: 'per-view' }, '--view-chunk 3: must divide the number of views, --views 4'],
    [{ viewChunk: 8, views: 4, bn: 'per-view' }, '--view-chunk 8: must divide the number of views, --views 4'],
    [{ viewChunk: 0, bn: 'per-view' }, '--view-chunk 0: must be at least 1'],
    [{ augmentation: { size: 0 } }, 'augmentation.size 0: must be at least 1'],
    [{ momentum: 1 } as PartialConfig, "unknown option 'momentum' in the configuration"],
  ])('%j', (partial, message) => {
    expect(() => resolveConfig(partial)).toThrow(message)
  })
})
