/** Runs that several ranks share, within one process. */
import { afterAll, describe, expect, test } from 'vitest'
import type { Collective, Engine } from '../../../engine/index.js'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { inProcessRanks } from '../../../train/ranks/in_process.js'
import { imagesOfRank, inShares } from '../../../train/ranks/share.js'
import { fromRoot, refuseDifferences } from '../../../train/ranks/together.js'
import { knn } from '../../../train/readout/knn.js'
import { linearProbe } from '../../../train/readout/linear_probe.js'
import { labelledFeatures } from '../../../train/readout/labelled_features.js'
import { pretrain, type PretrainOptions, type PretrainResult } from '../../../train/run/pretrain.js'
import { bucketsOf, configOfRank } from '../../../train/step/distributed.js'
import { input, variable } from '../../../engine/index.js'
import { colourfulImages } from '../../support/images.js'
import { memoryStore } from '../../support/memory_store.js'
import { closeRankEngines, rankEngines } from '../../support/rank_engines.js'

afterAll(closeRankEngines)

const dataset = {
  ...colourfulImages(24),
  labels: Uint32Array.from({ length: 24 }, (_, i) => i % 3),
  classes: ['a', 'b', 'c'],
}
const configOf = (changes: PartialConfig = {}) =>
  resolveConfig({
    data: 'own images',
    width: 4,
    views: 2,
    projectorDim: 8,
    lambda: 0.05,
    batch: 12,
    epochs: 2,
    checkpointEvery: 100,
    seed: 7,
    augmentation: { size: 8 },
    ...changes,
  })

/** Pretrains on each rank; only rank 0 has a store. */
async function together(count: number, options: Partial<PretrainOptions> & { changes?: PartialConfig }) {
  const { ranks, fail } = inProcessRanks(count)
  const engines = await rankEngines(count)
  const { changes, out, onMessage, onStep, ...rest } = options
  const results = await Promise.all(
    engines.map((engine, r) =>
      pretrain({
        ...{ engine, dataset, config: configOf(changes), ...rest },
        ...(count > 1 && { collective: ranks[r] }),
        ...(r === 0 && { out, onMessage, onStep }),
      }).catch((error: Error) => {
        fail(error)
        throw error
      }),
    ),
  )
  const weights = await Promise.all(results.map((result, r) => weightsOf(engines[r], result)))
  return { results, weights }
}

async function weightsOf(engine: Engine, { backbone, projector }: PretrainResult): Promise<Float32Array> {
  const all: number[] = []
  for (const v of [...backbone.dict.variables, ...projector.dict.variables]) {
    all.push(...(await engine.read(v)))
    engine.release(v)
  }
  return Float32Array.from(all)
}

test('a share of a batch is the same range of every micro-batch', () => {
  const images = Uint32Array.from({ length: 12 }, (_, i) => i)
  expect([...imagesOfRank(images, { batch: 6 }, { rank: 1, size: 3 })]).toEqual([2, 3, 8, 9])
  expect(configOfRank({ batch: 6, lossStatistics: 'rank' }, 3).batch).toBe(2)
  expect(() => configOfRank({ batch: 8, lossStatistics: 'rank' }, 3)).toThrow(
    '`batch` 8: must be a multiple of the number of ranks, 3: use `batch` 6 or 9',
  )
  expect(() => configOfRank({ batch: 3, lossStatistics: 'rank' }, 3)).toThrow('with at least 2 images for each')
  expect(configOfRank({ batch: 3, lossStatistics: 'global' }, 3).batch).toBe(1)
})

test('buckets have about the given size, and come in the order of the backward pass', () => {
  const [a, b, c] = [input('a', [4]), input('b', [4]), input('c', [4])]
  // 16 bytes each; the list is in the order of the parameters, and c is finished last.
  expect(bucketsOf([c, b, a], 20)).toEqual([[1, 2], [0]])
  expect(bucketsOf([c, b, a], 16)).toEqual([[2], [1], [0]])
  expect(bucketsOf([c, b, a])).toEqual([[0, 1, 2]])
})

describe('collectives within a process', () => {
  const each = <T>(count: number, work: (ranks: Collective) => Promise<T>): Promise<T[]> =>
    Promise.all(inProcessRanks(count).ranks.map(work))

  test('sum, gather, broadcast, barrier', async () => {
    const sums = await each(3, (r) => r.allReduce(Float32Array.of(r.rank, 1)))
    expect(sums.map((s) => [...s])).toEqual([[3, 3], [3, 3], [3, 3]]) // prettier-ignore
    const all = await each(3, (r) => r.allGather(Float64Array.of(r.rank, -r.rank)))
    expect([...all[1]]).toEqual([0, -0, 1, -1, 2, -2])
    const sent = await each(2, (r) => r.broadcast(Float32Array.of(5 + r.rank)))
    expect(sent.map(([x]) => x)).toEqual([5, 5])
    await each(2, (r) => r.barrier())
    const shared = await each(3, (r) =>
      inShares(r, { length: 4, width: 1 }, async (start, count) =>
        Float32Array.from({ length: count }, (_, i) => 10 * (start + i)),
      ),
    )
    for (const list of shared) expect([...list]).toEqual([0, 10, 20, 30])
  })

  test('an error of rank 0 is the error of all', async () => {
    const errors = await each(2, (r) =>
      fromRoot(r, () => Promise.reject(new Error('no space'))).catch((error: Error) => error.message),
    )
    expect(errors).toEqual(['no space', 'no space'])
    expect(await each(2, (r) => fromRoot(r, async () => ({ rank: r.rank })))).toEqual([{ rank: 0 }, { rank: 0 }])
  })

  test('copies that differ are noticed', async () => {
    const engines = await rankEngines(2)
    const errors = await each(2, async (r) => {
      const v = variable('weight', [3], Float32Array.of(1, 2, 3 + r.rank * 1e-6))
      await expect(refuseDifferences(r, engines[r.rank], [v])).rejects.toThrow(
        "rank 1 and rank 0 do not have the same 'weight'",
      )
      engines[r.rank].release(v)
    })
    expect(errors).toHaveLength(2)
  })
})

describe('a run of several ranks', () => {
  const options = {
    changes: { onlineProbe: true, optimizer: 'sgd', lr: 1e-5, momentum: 0 } as PartialConfig,
    test: dataset,
  }
  const strict = { ...options.changes, lossStatistics: 'global', bnStatistics: 'global' } as PartialConfig

  test('ends with equal networks, and twice with the same bits', async () => {
    const [first, second] = [await together(2, options), await together(2, options)]
    expect(first.weights[1]).toEqual(first.weights[0])
    expect(second.weights[0]).toEqual(first.weights[0])
    expect(second.results[0].losses).toEqual(first.results[0].losses)
    expect(first.results[0].losses).toHaveLength(4)
    expect(first.results[1].losses).toEqual(first.results[0].losses)
  })

  test('resumes with another number of ranks', async () => {
    const files = new Map<string, Uint8Array>()
    const out = memoryStore(files)
    const alone = await together(1, { ...options, changes: strict })
    const begun = await together(2, { ...options, changes: { ...strict, steps: 2 }, out })
    expect(begun.results[0].steps).toBe(2)
    const messages: string[] = []
    const goes = { ...options, changes: strict, out, resume: true, onMessage: (line: string) => messages.push(line) }
    const ended = await together(3, goes)
    expect(messages.join('\n')).toContain('resumed')
    expect(ended.results[2].steps).toBe(4)
    expect(ended.results[2].losses).toEqual(ended.results[0].losses)
    ended.results[0].losses.forEach((loss, i) => {
      expect(Math.abs(loss / alone.results[0].losses[2 + i] - 1)).toBeLessThan(1e-4)
    })
    const lines = new TextDecoder().decode(files.get('metrics.jsonl')).trim().split('\n')
    expect(lines.map((line) => (JSON.parse(line) as { step: number }).step)).toEqual([1, 2, 3, 4])
    // Every rank has searched for a part of the neighbours.
    expect(new TextDecoder().decode(files.get('online.jsonl')).trim().split('\n')).toHaveLength(2)
  })

  test('what one rank may not do, none does', async () => {
    await expect(together(2, { changes: { batch: 11 } })).rejects.toThrow('must be a multiple of the number of ranks')
    await expect(together(2, { debugNan: true })).rejects.toThrow('use one rank')
    await expect(together(2, { resume: true, out: memoryStore() })).rejects.toThrow()
  })
})

test('ranks share features, neighbours and probes, and get those of one rank', async () => {
  const engines = await rankEngines(2)
  const { ranks } = inProcessRanks(2)
  const { resnet } = await import('../../../models/index.js')
  const read = async (engine: Engine, collective?: Collective) => {
    const backbone = resnet({ arch: 'resnet18', width: 4, seed: 1 })
    const { augmentation: recipe } = configOf()
    const features = await labelledFeatures(engine, backbone, dataset, {
      recipe,
      seed: 1,
      views: 2,
      batch: 5,
      collective,
    })
    const [found] = await knn(engine, features, features, { classes: 3, ks: [5], collective })
    const probes = await linearProbe(engine, features, features, {
      classes: 3,
      seeds: [1, 2, 3],
      epochs: 2,
      collective,
    })
    for (const v of backbone.dict.variables) engine.release(v)
    return { features, found, probes }
  }
  const alone = await read(engines[0])
  for (const shared of await Promise.all(ranks.map((r) => read(engines[r.rank], r)))) {
    expect(shared.features).toEqual(alone.features)
    expect(shared.found).toEqual(alone.found)
    expect(shared.probes.map(({ seed }) => seed)).toEqual([1, 2, 3])
    shared.probes.forEach(({ weight }, s) => {
      weight.forEach((w, i) => expect(Math.abs(w - alone.probes[s].weight[i])).toBeLessThan(1e-6))
    })
  }
})
