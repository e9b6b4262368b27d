/** Ranks that share a step follow one rank that takes it alone. */
import { afterAll, describe, expect, test } from 'vitest'
import { Purpose, RandomStream, type Engine } from '../../../engine/index.js'
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
import { asGpu } from '../../support/engine.js'
import { closeRankEngines, rankEngines } from '../../support/rank_engines.js'

afterAll(closeRankEngines)

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
  /** Parameters and running statistics by name: at first, after one step that shows the gradient, and at the end. */
  first: Map<string, Float32Array>
  moved: Map<string, Float32Array>
  weights: Map<string, Float32Array>
}

/** Steps that the ranks take; RANK_STEPS=20 for more. */
const STEPS = Number(process.env.RANK_STEPS ?? 5)
const ALONE = [undefined]

/** A learning rate with which the gradient is almost all that a parameter holds after a step. */
const HUGE = 1e4

/**
 * Takes a step with a huge rate, goes back, and trains.
 *
 * @param nudge if given, the seed with which every parameter is first moved up or down by its last bit
 * @returns what every rank has
 */
async function trained(
  config: PretrainConfig,
  ranks: number,
  steps: number,
  rate: number,
  nudge?: number,
): Promise<Trained[]> {
  const engines = await rankEngines(ranks)
  const together = ranks > 1 ? inProcessRanks(ranks).ranks : ALONE
  return Promise.all(
    together.map(async (collective, r) => {
      const gpu: Engine = engines[r]
      const network = buildNetwork(config)
      const images = deviceImages(dataset, gpu.target.maxBindingBytes)
      const { features } = network.backbone
      const probe = config.onlineProbe ? onlineProbe({ features, classes: 3, seed: 1 }) : undefined
      const step = await compileTrainingStep(gpu, images, network, config, { probe, collective })
      const own = configOfRank(config, ranks)
      const dicts = [...trainedDicts(network), ...followingDicts(network)]
      const variables = [...dicts.flatMap((dict) => dict.variables), ...step.state]
      const read = async (): Promise<Map<string, Float32Array>> => {
        const values = new Map<string, Float32Array>()
        for (const v of variables) values.set(v.name, await gpu.read(v))
        return values
      }
      const take = async (s: number, lr: number): Promise<number> => {
        const all = Uint32Array.from(
          { length: config.batch * config.accumulate },
          (_, i) => (i * 5 + s) % dataset.count,
        )
        const mine = collective ? imagesOfRank(all, config, collective) : all
        await step.run({
          rows: viewRows(dataset, own, mine, s),
          rate: Float32Array.of(lr),
          ...(network.target && { targetRate: Float32Array.of(0.9) }),
          ...(probe && { labels: rowLabels(dataset, own, mine) }),
        })
        return (await step.loss())[0]
      }
      const first = await read()
      await take(0, HUGE)
      const moved = await read()
      for (const v of variables) {
        const values = first.get(v.name)!
        gpu.write(v, nudge !== undefined && isParameter(v.name) ? nudged(values, nudge) : values)
      }
      const losses: number[] = []
      for (let s = 0; s < steps; s++) losses.push(await take(s, rate))
      const weights = await read()
      step.destroy()
      for (const v of [...variables, ...images.shards.map(({ words }) => words)]) gpu.release(v)
      return { losses, first, moved, weights }
    }),
  )
}

/** The values, each moved up or down by its last bit. */
function nudged(values: Float32Array, seed: number): Float32Array<ArrayBuffer> {
  const moved = Float32Array.from(values)
  const bits = new Int32Array(moved.buffer)
  const random = new RandomStream(seed, Purpose.subset)
  for (let i = 0; i < bits.length; i++) if (moved[i] !== 0) bits[i] += random.chance(0.5) ? 1 : -1
  return moved
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

const isParameter = (name: string): boolean => /weight$|bias$/.test(name) && !/target|average|online_probe/.test(name)
const parametersOf = (all: Map<string, Float32Array>): Map<string, Float32Array> =>
  new Map([...all].filter(([name]) => isParameter(name)))

const RATE = 1e-5
/**
 * Relative. The gradients of BYOL differ most, by 0.98e-5. Lowered as for a GPU they differ by 1.03e-5, because the smaller
 * batch of a rank is then computed by other variants.
 */
const BOUNDS = { gradients: asGpu ? 1.1e-5 : 1e-5, losses: 1e-4, weights: 1e-4, statistics: 1e-4 }
type Distances = Record<keyof typeof BOUNDS, number>

const distances = (shared: Trained, alone: Trained): Distances => ({
  gradients: distance(parametersOf(shared.moved), parametersOf(alone.moved), alone.first),
  losses: Math.max(...alone.losses.map((loss, i) => Math.abs(shared.losses[i] / loss - 1))),
  weights: distance(parametersOf(shared.weights), parametersOf(alone.weights)),
  statistics: distance(runningOf(shared.weights), runningOf(alone.weights)),
})
const isWithin = (found: Distances): boolean =>
  Object.entries(BOUNDS).every(([name, bound]) => found[name as keyof Distances] < bound)

/** Starting points of one rank that differ in the last bits of all weights. */
const NUDGES = Array.from({ length: 16 }, (_, i) => i + 1)

/**
 * Compares several ranks with one.
 *
 * Where an activation is within rounding of the kink of a ReLU, its last bit decides whether a gradient flows, and from
 * there on runs go different ways: one rank whose initial weights differ in their last bits then leaves the first one by
 * up to 1e-2 in the loss (measured with Barlow Twins, after 20 steps), and several ranks may go either way. So where the
 * ranks leave the one rank, they must follow one of the ways that such ranks take, within the same bounds.
 */
async function follows(changes: PartialConfig, ranks: number, steps = STEPS): Promise<void> {
  const config = configOf(changes)
  const [alone] = await trained(config, 1, steps, RATE)
  const shared = await trained(config, ranks, steps, RATE)
  for (const other of shared.slice(1)) same(other, shared[0])
  let found = distances(shared[0], alone)
  if (process.env.WEBGPU_SSL_SHOW) console.log(JSON.stringify({ changes, ranks, ...found }))
  // The first step has no history.
  expect(found.gradients).toBeLessThan(BOUNDS.gradients)
  for (const nudge of NUDGES) {
    if (isWithin(found)) break
    const [other] = await trained(config, 1, steps, RATE, nudge)
    found = distances(shared[0], other)
    if (process.env.WEBGPU_SSL_SHOW) console.log(JSON.stringify({ nudge, ...found, alone: distances(other, alone) }))
  }
  expect(isWithin(found), JSON.stringify(found)).toBe(true)
}

const runningOf = (all: Map<string, Float32Array>): Map<string, Float32Array> =>
  new Map([...all].filter(([name]) => /running/.test(name) && !/target/.test(name)))

/** [objective, options, views, ranks]: each objective; two views and four, two ranks and three with each way of sharing. */
const cases: [ObjectiveName, PartialConfig, number, number][] = [
  ['barlow-twins', { lambda: 0.05 }, 4, 3],
  ['barlow-twins-leave-one-out', { lambda: 0.05 }, 2, 3],
  ['vicreg', {}, 4, 2],
  ['vicreg-original', {}, 2, 3],
  ['simclr', {}, 4, 3],
  ['spectral', {}, 2, 2],
  ['barlow-twins-original', {}, 2, 2],
  ['byol', {}, 2, 2],
]

test.each(cases)('%s with global statistics %o, %i views on %i ranks', (objective, options, views, ranks) =>
  follows({ objective, ...options, views }, ranks),
)

test('20 steps of two ranks', () => follows({ objective: 'barlow-twins', lambda: 0.05, views: 2 }, 2, 20))

describe('with global statistics', () => {
  const barlow = { objective: 'barlow-twins', lambda: 0.05, views: 4 } as const
  test('in chunks of views', () => follows({ ...barlow, bn: 'per-view', viewChunk: 2 }, 2))
  test('in chunks of views, over micro-batches', () =>
    follows({ ...barlow, bn: 'per-view', viewChunk: 2, accumulate: 2 }, 2))
  test('in one chunk', () => follows({ ...barlow, views: 2, bn: 'per-view', viewChunk: 2 }, 2))
  test('accumulated', () => follows({ ...barlow, views: 2, batch: 12, accumulate: 2 }, 3))
  test('with a projector wider than the batch, whose embeddings are gathered', () =>
    follows({ ...barlow, views: 2, projectorDim: 32 }, 2))
  test('with a probe, clipping and a moving average', () =>
    follows({ ...barlow, views: 2, onlineProbe: true, clipNorm: 0.5, emaRate: 0.9 }, 2))
})

describe("with each rank's own statistics", () => {
  const own = { objective: 'barlow-twins', lambda: 0.05, views: 2 } as const
  const statistics = { lossStatistics: 'rank', bnStatistics: 'rank' } as const

  test.each([
    ['whole', { batch: 12 }],
    ['in chunks', { batch: 12, bn: 'per-view', viewChunk: 1 }],
  ] as const)('a step of two ranks is that of two micro-batches: %s', async (_, changes) => {
    const [alone] = await trained(configOf({ ...own, batch: 6, accumulate: 2 }), 1, 3, 2e-4)
    const shared = await trained(configOf({ ...own, ...statistics, ...changes }), 2, 3, 2e-4)
    same(shared[1], shared[0])
    if ('viewChunk' in changes) return
    expect(distance(parametersOf(shared[0].moved), parametersOf(alone.moved), alone.first)).toBeLessThan(1e-5)
    shared[0].losses.forEach((loss, i) => expect(Math.abs(loss / alone.losses[i] - 1)).toBeLessThan(1e-4))
  })
})

test('two runs give the same bits', async () => {
  const config = configOf({ objective: 'barlow-twins', lambda: 0.05, views: 2 })
  const [first] = await trained(config, 3, 3, 1e-3)
  const [second] = await trained(config, 3, 3, 1e-3)
  same(second, first)
})
