/** Nearest neighbours against a naive search in f64, including ties. */
import { describe, expect, test } from 'vitest'
import { Purpose, RandomStream, type Engine } from '../../../engine/index.js'
import { knn, nearestNeighbours } from '../../../train/readout/knn.js'
import { engine } from '../../support/engine.js'

const WIDTH = 12

function randomRows(count: number, seed: number): Float32Array {
  const stream = new RandomStream(seed, Purpose.subset)
  return Float32Array.from({ length: count * WIDTH }, () => stream.normal())
}

function naive(rows: Float32Array, queries: Float32Array, k: number) {
  const row = (a: Float32Array, i: number) => Array.from(a.subarray(i * WIDTH, (i + 1) * WIDTH))
  const dot = (a: number[], b: number[]) => a.reduce((sum, v, d) => sum + v * b[d], 0)
  const unit = (a: number[]) => a.map((v) => v / Math.sqrt(dot(a, a)))
  const all = Array.from({ length: rows.length / WIDTH }, (_, i) => unit(row(rows, i)))
  return Array.from({ length: queries.length / WIDTH }, (_, q) => {
    const query = unit(row(queries, q))
    const similarities = all.map((other) => dot(query, other))
    const order = [...similarities.keys()].sort((a, b) => similarities[b] - similarities[a] || a - b).slice(0, k)
    return { order, similarities: order.map((i) => similarities[i]) }
  })
}

describe('nearest neighbours', () => {
  test('equal a naive search in f64, nearest first', async () => {
    const [rows, queries] = [randomRows(501, 1), randomRows(303, 2)]
    const found = await nearestNeighbours(await engine(), rows, queries, { width: WIDTH, k: 23 })
    naive(rows, queries, 23).forEach(({ order, similarities }, q) => {
      expect(Array.from(found.indices.subarray(q * 23, (q + 1) * 23))).toEqual(order)
      similarities.forEach((s, i) => expect(found.similarities[q * 23 + i]).toBeCloseTo(s, 5))
    })
  })

  test('rows of equal similarity come in ascending order, also across blocks', async () => {
    const gpu = await engine()
    const once = randomRows(40, 3)
    // Each row occurs five times, so that every place has ties.
    const rows = new Float32Array(5 * once.length)
    for (let copy = 0; copy < 5; copy++) rows.set(once, copy * once.length)
    const queries = randomRows(10, 4)
    const expected = naive(once, queries, 3).map(({ order }) =>
      order.flatMap((i) => [0, 40, 80, 120, 160].map((c) => i + c)),
    )
    // A binding holds 64 rows, so the search takes four blocks.
    const small = Object.create(gpu, {
      target: { value: { ...gpu.target, maxBindingBytes: 64 * 4 * WIDTH } },
    }) as Engine
    for (const device of [gpu, small])
      for (const k of [13, 1]) {
        const { indices } = await nearestNeighbours(device, rows, queries, { width: WIDTH, k })
        expected.forEach((order, q) =>
          expect(Array.from(indices.subarray(q * k, (q + 1) * k))).toEqual(order.slice(0, k)),
        )
      }
  })
})

describe('kNN', () => {
  test('classifies by the vote of exp(similarity / .07), as in f64', async () => {
    const [rows, queries] = [randomRows(400, 5), randomRows(200, 6)]
    const labels = Array.from({ length: 400 }, (_, i) => (i * 7) % 5)
    const truth = Array.from({ length: 200 }, (_, i) => i % 5)
    const train = { features: rows, labels }
    const results = await knn(
      await engine(),
      train,
      { features: queries, labels: truth },
      { classes: 5, ks: [20, 200] },
    )
    for (const { k, top1, top5, predictions } of results) {
      let voted = 0
      const expected = naive(rows, queries, k).map(({ order, similarities }, q) => {
        const votes = [0, 0, 0, 0, 0]
        order.forEach((i, n) => (votes[labels[i]] += Math.exp(similarities[n] / 0.07)))
        if (votes[truth[q]] > 0) voted++
        return votes.indexOf(Math.max(...votes))
      })
      expect(Array.from(predictions)).toEqual(expected)
      expect(top1).toBe(expected.filter((label, q) => label === truth[q]).length / 200)
      expect(top5).toBe(voted / 200)
    }
    expect(results.map((r) => r.k)).toEqual([20, 200])
    expect(results[0].predictions).not.toEqual(results[1].predictions)
  })

  test('top-5 counts labels among the five classes with the most votes, but no label without votes', async () => {
    // Neighbours have the classes 6, 5, 4, …, 0 at increasing distance.
    const features = Float32Array.from({ length: 7 * WIDTH }, (_, k) =>
      k % WIDTH === 0 ? 1 : k % WIDTH === 1 ? Math.floor(k / WIDTH) / 10 : 0,
    )
    const query = Float32Array.from({ length: WIDTH }, (_, k) => (k === 0 ? 1 : 0))
    const train = { features, labels: [6, 5, 4, 3, 2, 1, 0] }
    const rightAt = async (label: number, k: number) => {
      const asked = { features: query, labels: [label] }
      const [{ top1, top5 }] = await knn(await engine(), train, asked, { classes: 9, ks: [k] })
      return [top1, top5]
    }
    expect(await rightAt(6, 7)).toEqual([1, 1])
    expect(await rightAt(2, 7)).toEqual([0, 1])
    expect(await rightAt(1, 7)).toEqual([0, 0])
    expect(await rightAt(4, 2)).toEqual([0, 0])
    expect(await rightAt(0, 1)).toEqual([0, 0])
  })

  test('the smaller class wins among equal votes, and a k above the number of rows takes all rows', async () => {
    const one = randomRows(1, 7)
    const features = new Float32Array(2 * WIDTH)
    features.set(one)
    features.set(one, WIDTH)
    const train = { features, labels: [2, 1] }
    const [all, first] = await knn(await engine(), train, { features: one, labels: [1] }, { classes: 3, ks: [200, 1] })
    expect(Array.from(all.predictions)).toEqual([1])
    expect(all.top1).toBe(1)
    // The single neighbour is the earlier of two equal rows.
    expect(Array.from(first.predictions)).toEqual([2])
  })
})
