/** Ranks that share a step follow one rank that takes it alone. */
import { describe, expect, test } from 'vitest'
import type { Engine } from '../../../engine/index.js'
import { deviceImages } from '../../../train/augment/views.js'
import { resolveConfig, type PartialConfig, type PretrainConfig } from '../../../train/config/config.js'
import { rowLabels, viewRows } from '../../../train/feed/batches.js'
import type { ObjectiveName } from '../../../train/objectives/index.js'
import { inProcessRanks } from '../../../train/ranks/in_process.js'
import { imagesOfRank } from '../../../train/ranks/share.js'
import { onlineProbe } from '../../../train/readout/online.js'
import { configOfRank } from '../../../train/step/distributed.js'
import { compileTrainingStep } from '../../../train/step/index.js'
import { buildNetwork, followingDicts, trainedDicts } from '../../../train/step/network.js'
import { colourfulImages } from '../../support/images.js'
import { rankEngines } from '../../support/rank_engines.js'

const dataset = { ...colourfulImages(48), labels: Uint32Array.from({ length: 48 }, (_, i) => i % 3) }

const configOf = (changes: PartialConfig) =>
  resolveConfig({
    data: 'own images',
    arch: 'resnet18',
    width: 4,
    projectorDim: 12,
    batch: 24,
    zeroInitResidual: false,
    seed: 7,
    optimizer: 'sgd',
    momentum: 0,
    weightDecay: 0,
    augmentation: { size: 8 },
    lossStatistics: 'global',
    bnStatistics: 'global',
    ...changes,
  })

interface Trained {
  losses: number[]
  /** Parameters and running statistics by name. */
  weights: Map<string, Float32Array>
}

const ALONE = [undefined]

/** Trains on each rank. @returns what every rank has at the end */
async function trained(config: PretrainConfig, ranks: number, steps: number, rate: number): Promise<Trained[]> {
  const engines = await rankEngines(ranks)
  const together = ranks > 1 ? inProcessRanks(ranks).ranks : ALONE
  return Promise.all(
    together.map(async (collective, r) => {
      const gpu: Engine = engines[r]
      const network = buildNetwork(config)
      const images = deviceImages(dataset, gpu.target.maxBindingBytes)
      const probe = config.onlineProbe
        ? onlineProbe({ features: network.backbone.features, classes: 3, seed: 1 })
        : undefined
      const step = await compileTrainingStep(gpu, images, network, config, { probe, collective })
      const own = configOfRank(config, ranks)
      const losses: number[] = []
      for (let s = 0; s < steps; s++) {
        const all = Uint32Array.from(
          { length: config.batch * config.accumulate },
          (_, i) => (i * 5 + s) % dataset.count,
        )
        const mine = collective ? imagesOfRank(all, config, collective) : all
        await step.run({
          rows: viewRows(dataset, own, mine, s),
          rate: Float32Array.of(rate),
          ...(network.target && { targetRate: Float32Array.of(0.9) }),
          ...(probe && { labels: rowLabels(dataset, own, mine) }),
        })
        losses.push((await step.loss())[0])
      }
      const weights = new Map<string, Float32Array>()
      const dicts = [...trainedDicts(network), ...followingDicts(network)]
      const variables = [...dicts.flatMap((dict) => dict.variables), ...(probe?.state ?? [])]
      for (const v of variables) weights.set(v.name, await gpu.read(v))
      step.destroy()
      for (const v of [...variables, ...step.state, ...images.shards.map(({ words }) => words)]) gpu.release(v)
      return { losses, weights }
    }),
  )
}

/** The largest distance between tensors of two runs in relation to their norm, over all tensors together. */
function distance(
  a: Map<string, Float32Array>,
  b: Map<string, Float32Array>,
  from?: Map<string, Float32Array>,
): number {
  let [difference, norm] = [0, 0]
  for (const [name, values] of a)
    values.forEach((value, i) => {
      const base = from?.get(name)![i] ?? 0
      difference += (value - b.get(name)![i]) ** 2
      norm += (b.get(name)![i] - base) ** 2
    })
  return Math.sqrt(difference / norm)
}

const same = (a: Trained, b: Trained): void => {
  expect(a.losses).toEqual(b.losses)
  for (const [name, values] of a.weights) expect(values, name).toEqual(b.weights.get(name))
}

const parametersOf = ({ weights }: Trained): Map<string, Float32Array> =>
  new Map([...weights].filter(([name]) => !/running|target|average/.test(name)))

/** Where a gradient is all that moves the parameters by this much, they show the gradient. */
const HUGE = 1e4

async function follows(
  changes: PartialConfig,
  ranks: number,
  { rate = Number(process.env.RATE ?? 0.002), steps = 20 } = {},
): Promise<void> {
  const config = configOf(changes)
  const [[before], [one], several] = [
    await trained(config, 1, 1, 0),
    await trained(config, 1, 1, HUGE),
    await trained(config, ranks, 1, HUGE),
  ]
  const gradients = distance(parametersOf(several[0]), parametersOf(one), parametersOf(before))
  const [alone] = await trained(config, 1, steps, rate)
  const shared = await trained(config, ranks, steps, rate)
  for (const other of shared.slice(1)) same(other, shared[0])
  const losses = Math.max(...alone.losses.map((loss, i) => Math.abs(shared[0].losses[i] / loss - 1)))
  const weights = distance(shared[0].weights, alone.weights)
  if (process.env.SHOW)
    console.log(
      JSON.stringify({ changes, ranks, gradients, losses, weights, first: alone.losses[0], last: alone.losses.at(-1) }),
    )
  expect(gradients).toBeLessThan(1e-5)
  expect(losses).toBeLessThan(1e-4)
  expect(weights).toBeLessThan(1e-4)
}

const objectives: [ObjectiveName, PartialConfig][] = [
  ['barlow-twins', { lambda: 0.05 }],
  ['barlow-twins-leave-one-out', { lambda: 0.05 }],
  ['vicreg', {}],
  ['vicreg-original', {}],
  ['simclr', {}],
  ['spectral', {}],
  ['barlow-twins-original', {}],
  ['byol', {}],
]

describe.each(objectives)('%s', (objective, options) => {
  const views = ['barlow-twins-original', 'byol'].includes(objective) ? [2] : [2, 4]
  test.each(views)('%i views', async (m) => {
    await follows({ objective, ...options, views: m }, m === 2 ? 2 : 3)
  })
})
