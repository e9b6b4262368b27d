/** The runs of each experiment on each data set, and the errors if there are none. */
import { describe, expect, test } from 'vitest'
import { baselineArm, fidelityRuns, fractionArms, viewsArms } from '../../../bench/paper/arms.js'
import { datasets, scales, type Dataset, type Scale, type Setup } from '../../../bench/paper/experiment.js'
import { experiments, experimentsFor } from '../../../bench/paper/experiments/index.js'
import { protocolOf } from '../../../bench/paper/scales.js'
import { keyOf } from '../../../bench/runs/cached_runs.js'
import { overlay, resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { readRecipe, recipeNames } from '../../../train/recipes/index.js'

const setup = (scale: Scale, dataset: Dataset = 'cifar10'): Setup => ({ scale, dataset, dataDir: 'pictures' })
const setups = [...scales.map((scale) => setup(scale)), setup('full', 'stl10'), setup('full', 'imagenet100')]
const key = (config: PartialConfig): string => keyOf(resolveConfig(config))
const armsOf = (name: string, where: Setup) => experiments.find((e) => e.name === name)!.arms(where)
const names = (wanted: string, where: Setup) => experimentsFor(wanted, where).map(({ name }) => name)

describe.each(setups)('at scale $scale on $dataset', (where) => {
  test('every run has a valid configuration, and 1 to 16 seeds', () => {
    for (const { arms, seeds } of experiments) {
      expect(seeds[where.scale]).toBeGreaterThanOrEqual(1)
      expect(seeds[where.scale]).toBeLessThanOrEqual(16)
      for (const arm of arms(where)) expect(() => resolveConfig({ ...arm.config, seed: 1 })).not.toThrow()
    }
  })

  test('the arms of an experiment have distinct names', () => {
    for (const { arms } of experiments) {
      const list = arms(where).map(({ name }) => name)
      // Where the paper has no wider projector, the baseline is also the first of the other arms.
      const own = list[0] === list[1] ? list.slice(1) : list
      expect(new Set(own).size).toBe(own.length)
    }
  })
})

test('at full scale the runs are exactly the recipes of the paper', () => {
  const made = new Set(
    datasets.flatMap((dataset) =>
      ['views', 'time-to', 'fraction', 'projector'].flatMap((name) =>
        armsOf(name, setup('full', dataset)).map(({ config }) => key(config)),
      ),
    ),
  )
  // SimCLR, BYOL and the baseline of VICReg are for users; no experiment has them.
  const others = ['cifar10-simclr-d128', 'cifar10-byol-d128', 'cifar10-vicreg-d8192-v2']
  const changes: PartialConfig = { dataDir: 'pictures', fidelity: 'research-code' }
  const wanted = recipeNames().filter((name) => !others.includes(name))
  expect(made).toEqual(new Set(wanted.map((name) => key(overlay(readRecipe(name), changes)))))
})

test('at tiny scale the runs are those of the committed results, written out here again', () => {
  const shared: PartialConfig = {
    arch: 'resnet18',
    width: 8,
    fraction: 0.2,
    epochs: 4,
    checkpointEvery: 1,
    batch: 128,
    precision: 'f32',
    zeroInitResidual: true,
    augmentation: { size: 16 },
  }
  const run = (views: number, projectorDim: number, lambda: number, changes: PartialConfig = {}): string =>
    key({ ...shared, views, projectorDim, objective: 'barlow-twins', lambda, ...changes })
  const keys = (name: string) => armsOf(name, setup('tiny')).map(({ config }) => key(config))
  const [two, four, eight] = [run(2, 256, 0.02), run(4, 256, 0.01), run(8, 256, 0.01)]
  const [half, quarter] = [run(4, 256, 0.01, { fraction: 0.1 }), run(8, 256, 0.006, { fraction: 0.05 })]
  const vicreg = (width: number, lambda: number) => run(2, width, lambda, { objective: 'vicreg' })
  const wide = run(2, 1024, 0.002)
  expect(keys('views')).toEqual([two, four, eight])
  // Images are what these runs lack, and not steps.
  const converged = { epochs: 60, checkpointEvery: 10, batch: 64 }
  expect(keys('fraction')).toEqual([
    run(2, 256, 0.02, { ...converged, fraction: 0.05 }),
    run(4, 256, 0.01, { ...converged, fraction: 0.025 }),
    run(8, 256, 0.006, { ...converged, fraction: 0.0125 }),
  ])
  expect(keys('time-to')).toEqual([wide, two, four, eight, half, quarter])
  expect(keys('pareto')).toEqual([wide, two, four, eight, half, quarter])
  const area = { augmentation: { size: 16, interpolation: 'area' } } as const
  const byol = (targetSchedule: 'cosine' | 'constant') =>
    key({ ...shared, views: 2, projectorDim: 256, objective: 'byol', targetSchedule })
  const accidents: PartialConfig[] = [
    { initialWeights: 'pytorch', zeroInitResidual: false },
    { stemRelu: false },
    area,
    { lastBatch: 'keep' },
    {},
    { bn: 'per-view' },
  ]
  const together: PartialConfig = {
    ...Object.assign({}, ...accidents.slice(0, 4)),
    fidelity: 'research-code',
    bn: 'joint',
  }
  expect(keys('fidelity')).toEqual([
    ...[two, run(2, 256, 0.02, together)],
    ...accidents.map((changes) => run(2, 256, 0.02, changes)),
    ...[byol('cosine'), byol('constant')],
  ])
  expect(keys('projector')).toEqual([
    ...[run(2, 64, 0.04), run(2, 64, 0.0004), two, run(2, 256, 0.0004), wide, run(2, 1024, 0.0004)],
    ...[vicreg(64, 20), vicreg(64, 750), vicreg(1024, 25), vicreg(1024, 750)],
  ])
})

test('experiments share runs: 38 arms at tiny scale are 22 runs, and 3 of shares that have converged', () => {
  const keys = experimentsFor('all', setup('tiny')).flatMap(({ arms }) =>
    arms(setup('tiny')).map(({ config }) => key(config)),
  )
  expect(keys).toHaveLength(38)
  expect(new Set(keys).size).toBe(5 + 8 + 1 + 8 + 3)
})

test('the paper varies views for two losses and two widths on CIFAR-10 and for one elsewhere, not always up to 8', () => {
  const of = (name: string, dataset: Dataset) => armsOf(name, setup('full', dataset)).map((arm) => arm.name)
  expect(of('views', 'cifar10')).toEqual([
    ...['2 views', '4 views', '8 views', '2 views, d = 8192', '4 views, d = 8192', '8 views, d = 8192'],
    ...['VICReg, 2 views', 'VICReg, 4 views'],
  ])
  expect(of('views', 'stl10')).toEqual(['2 views', '4 views'])
  expect(of('views', 'imagenet100')).toEqual(['2 views', '4 views', '8 views'])
  for (const dataset of ['stl10', 'imagenet100'] as const)
    expect(of('fraction', dataset)).toEqual(['2 views', '4 views @ 50 %', '8 views @ 25 %'])
  expect(armsOf('projector', setup('full', 'imagenet100'))).toHaveLength(14)
  const full = setup('full', 'stl10')
  expect(viewsArms(full, 'bt-d256').map(({ config }) => config.lambda)).toEqual([0.008, 0.001])
  expect(fractionArms(full, 'bt-d256').map(({ config }) => config.lambda)).toEqual([0.008, 0.002, 0.006])
  expect(baselineArm(full).name).toBe('2 views, d = 8192')
  expect(baselineArm(setup('full')).config).toMatchObject({ views: 2, projectorDim: 8192, batch: 128 })
})

test('the paper’s readout has 16 views for comparisons of views, except on ImageNet-100, and one view otherwise', () => {
  const viewsOf = (name: string, where: Setup) => [...new Set(armsOf(name, where).map(({ readout }) => readout.views))]
  for (const where of setups) {
    const many = where.scale === 'full' && where.dataset !== 'imagenet100' ? 16 : 1
    for (const name of ['views', 'fraction', 'time-to', 'pareto']) expect(viewsOf(name, where)).toEqual([many])
    expect(viewsOf('fidelity', where)).toEqual([1])
    expect(viewsOf('projector', where)).toEqual([1])
  }
})

test('the research code’s deviations include division by the mean on STL-10 and ImageNet-100', () => {
  const stds = (dataset: Dataset) =>
    fidelityRuns(setup('full', dataset)).map(({ config }) => resolveConfig(config).augmentation.std)
  const [clean, research] = stds('imagenet100')
  expect(research).toEqual([0.485, 0.456, 0.406])
  expect(clean).toEqual([0.229, 0.224, 0.225])
  expect(stds('stl10')[1]).toEqual(resolveConfig({ data: 'stl10' }).augmentation.mean)
  expect(new Set(stds('cifar10').map(String)).size).toBe(1)
})

describe('a data set', () => {
  test('has the experiments for which the paper has runs', () => {
    const together = experiments.filter(({ apart }) => !apart).map(({ name }) => name)
    expect(names('all', setup('tiny'))).toEqual(together)
    expect(names('kernel', setup('tiny'))).toEqual(['kernel-competition', 'kernel-views', 'kernel-losses'])
    expect(names('lambda', setup('tiny'))).toEqual(['lambda'])
    for (const dataset of ['stl10', 'imagenet100'] as const)
      expect(names('all', setup('full', dataset))).toEqual([
        ...['views', 'time-to', 'projector', 'fraction', 'pareto', 'fidelity'],
      ])
    expect(names('views', setup('full', 'stl10'))).toEqual(['views'])
  })

  test('without runs is refused in one line', () => {
    expect(() => names('dynamics', setup('full', 'stl10'))).toThrow(
      'dynamics: the paper has no runs for this experiment on stl10; it has views, time-to, projector, fraction, pareto, fidelity',
    )
    expect(() => names('views', setup('tiny', 'stl10'))).toThrow('--dataset stl10: needs --scale full')
    const bare: Setup = { scale: 'full', dataset: 'imagenet100' }
    expect(() => names('views', bare)).toThrow('--data-dir')
  })

  test('has a summary, and a target accuracy only if the paper has one', () => {
    expect(datasets.map((dataset) => protocolOf(setup('full', dataset)).target)).toEqual([80, undefined, undefined])
    expect(datasets.map((dataset) => protocolOf(setup('full', dataset)).summary)).toEqual([
      expect.stringContaining('CIFAR-10'),
      expect.stringContaining('STL-10'),
      expect.stringContaining('ImageNet-100'),
    ])
  })
})
