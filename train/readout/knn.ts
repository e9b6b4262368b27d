/** Weighted k-nearest-neighbour classification by cosine similarity (Wu et al. 2018, "instance discrimination"). */
import { input, matmul, variable, type Collective, type Engine } from '../../engine/index.js'
import { inShares, shareOf } from '../ranks/share.js'
import { widthOf, type LabelledFeatures } from './labelled_features.js'

const TEMPERATURE = 0.07
const QUERY_ROWS = 256
const BLOCK_ROWS = 16384
const SMALLEST_NORM = 1e-12

/** The k nearest rows of each query, nearest first. Rows of equal similarity come in ascending order. */
export interface Neighbours {
  /** At most the number of rows. */
  k: number
  /** Row numbers, [queries, k]. */
  indices: Uint32Array
  /** Cosine similarities, [queries, k]. */
  similarities: Float32Array
}

interface Progress {
  onProgress?(done: number, total: number): void
}

/** Searches rows again and again, with one recorded program. */
export interface NeighbourSearch {
  /**
   * @param rows the rows to search, [N, width]
   * @param queries [Q, width]
   */
  search(rows: Float32Array, queries: Float32Array, onProgress?: Progress['onProgress']): Promise<Neighbours>
  release(): void
}

interface SearchOptions {
  /** Numbers of rows and of queries. */
  rows: number
  queries: number
  width: number
  /** The number of neighbours of each query. */
  k: number
  /** The ranks that share the queries; all of them get all neighbours. */
  collective?: Collective
}

/**
 * Exact nearest neighbours by cosine similarity: the GPU computes the products, the CPU selects. The rows are searched in
 * blocks, so that neither the rows nor the similarities must fit in GPU memory at once.
 */
export async function neighbourSearch(
  engine: Engine,
  { collective, ...sizes }: SearchOptions,
): Promise<NeighbourSearch> {
  if (collective) return sharedSearch(engine, sizes, collective)
  const { rows: rowCount, queries: queryCount, width, k: wanted } = sizes
  const k = Math.min(wanted, rowCount)
  const fitting = Math.floor(engine.target.maxBindingBytes / (4 * width))
  const blockRows = Math.min(Math.ceil(rowCount / 4) * 4, BLOCK_ROWS, fitting - (fitting % 4))
  const chunkRows = Math.min(QUERY_ROWS, queryCount)
  const block = variable('knn.block', [width, blockRows])
  const chunk = input('chunk', [chunkRows, width])
  const program = await engine.compile({ label: 'similarities', outputs: { y: matmul(chunk, block) } })
  return {
    async search(rows, queries, onProgress) {
      const nearest = new Nearest(queryCount, k)
      const unitQueries = normalized(queries, width)
      const unitRows = normalized(rows, width)
      const scratch = new Float32Array(chunkRows * width)
      const total = queryCount * Math.ceil(rowCount / blockRows)
      let done = 0
      for (let first = 0; first < rowCount; first += blockRows) {
        const count = Math.min(blockRows, rowCount - first)
        engine.write(block, columns(unitRows.subarray(first * width, (first + count) * width), width, blockRows))
        let before: (() => Promise<void>) | undefined
        for (let start = 0; start < queryCount; start += chunkRows) {
          const held = Math.min(chunkRows, queryCount - start)
          // After a shorter last chunk, rows of the previous chunk remain. Their products are not read.
          scratch.set(unitQueries.subarray(start * width, (start + held) * width))
          await program.run({ chunk: scratch })
          const reading = program.read('y')
          // Select from one chunk while the GPU multiplies the next.
          await before?.()
          before = async () => {
            const similarities = await reading
            for (let q = 0; q < held; q++)
              nearest.offer(start + q, similarities.subarray(q * blockRows, q * blockRows + count), first)
            onProgress?.((done += held), total)
          }
        }
        await before?.()
      }
      return nearest.sorted()
    },
    release() {
      program.destroy()
      engine.release(block)
    },
  }
}

/**
 * A single search; see `neighbourSearch`.
 *
 * @param rows the rows to search, [N, width]
 * @param queries [Q, width]
 */
export async function nearestNeighbours(
  engine: Engine,
  rows: Float32Array,
  queries: Float32Array,
  { width, onProgress, ...options }: Omit<SearchOptions, 'rows' | 'queries'> & Progress,
): Promise<Neighbours> {
  const sizes = { rows: rows.length / width, queries: queries.length / width, width, ...options }
  const once = await neighbourSearch(engine, sizes)
  try {
    return await once.search(rows, queries, onProgress)
  } finally {
    once.release()
  }
}

export interface KnnResult {
  k: number
  /** Share of the test features whose prediction is their label, in [0, 1]. */
  top1: number
  /** Share whose label is among the five classes with the most votes. A label without votes does not count. */
  top5: number
  /** [N] */
  predictions: Uint32Array
}

/**
 * Classifies each test feature by the vote of its k nearest training features with weights exp(similarity / .07). Among
 * equal votes the smaller class wins.
 *
 * @param ks numbers of neighbours; numbers above the number of training features use all of them
 * @returns one result for each of `ks`
 */
export async function knn(
  engine: Engine,
  train: LabelledFeatures,
  test: LabelledFeatures,
  {
    classes,
    ks,
    collective,
    onProgress,
  }: {
    classes: number
    ks: readonly number[]
    /** The ranks that share the queries. */
    collective?: Collective
  } & Progress,
): Promise<KnnResult[]> {
  const options = { width: widthOf(train, test), k: Math.max(...ks), collective, onProgress }
  const found = await nearestNeighbours(engine, train.features, test.features, options)
  return classified(found, train.labels, test.labels, { classes, ks })
}

/** The classes that the votes of neighbours give, with the rules of `knn`. */
export function classified(
  found: Neighbours,
  rowLabels: ArrayLike<number>,
  queryLabels: ArrayLike<number>,
  { classes, ks }: { classes: number; ks: readonly number[] },
): KnnResult[] {
  return ks.map((k) => {
    const predictions = new Uint32Array(queryLabels.length)
    const votes = new Float64Array(classes)
    let [first, five] = [0, 0]
    for (let q = 0; q < predictions.length; q++) {
      votes.fill(0)
      for (let i = q * found.k; i < q * found.k + Math.min(k, found.k); i++)
        votes[rowLabels[found.indices[i]]] += Math.exp(found.similarities[i] / TEMPERATURE)
      predictions[q] = votes.indexOf(votes.reduce((a, b) => Math.max(a, b)))
      const own = queryLabels[q]
      const before = votes.filter((other, c) => other > votes[own] || (other === votes[own] && c < own)).length
      if (votes[own] > 0 && before < 1) first++
      if (votes[own] > 0 && before < 5) five++
    }
    return { k, top1: first / predictions.length, top5: five / predictions.length, predictions }
  })
}

/** As `neighbourSearch`, where each rank searches for a part of the queries. */
async function sharedSearch(engine: Engine, sizes: SearchOptions, ranks: Collective): Promise<NeighbourSearch> {
  const { width, queries: length } = sizes
  const k = Math.min(sizes.k, sizes.rows)
  const { count: ownCount } = shareOf(ranks, length)
  const own = ownCount > 0 ? await neighbourSearch(engine, { ...sizes, queries: ownCount }) : undefined
  return {
    async search(rows, queries, onProgress) {
      const all = await inShares(ranks, { length, width: 2 * k }, async (start, count) => {
        const ownQueries = queries.subarray(start * width, (start + count) * width)
        const { indices, similarities } = await own!.search(rows, ownQueries, onProgress)
        const both = new Float32Array(2 * k * count)
        // The bits of the indices travel unchanged.
        const words = new Uint32Array(both.buffer)
        for (let q = 0; q < count; q++) {
          words.set(indices.subarray(q * k, (q + 1) * k), 2 * k * q)
          both.set(similarities.subarray(q * k, (q + 1) * k), 2 * k * q + k)
        }
        return both
      })
      const words = new Uint32Array(all.buffer)
      const found = { k, indices: new Uint32Array(length * k), similarities: new Float32Array(length * k) }
      for (let q = 0; q < length; q++) {
        found.indices.set(words.subarray(2 * k * q, 2 * k * q + k), k * q)
        found.similarities.set(all.subarray(2 * k * q + k, 2 * k * (q + 1)), k * q)
      }
      return found
    },
    release: () => own?.release(),
  }
}

/** Divides rows by their length. Rows of zeros stay. */
function normalized(rows: Float32Array, width: number): Float32Array {
  const unit = new Float32Array(rows.length)
  for (let at = 0; at < rows.length; at += width) {
    let square = 0
    for (let d = 0; d < width; d++) square += rows[at + d] ** 2
    const scale = 1 / Math.max(Math.sqrt(square), SMALLEST_NORM)
    for (let d = 0; d < width; d++) unit[at + d] = rows[at + d] * scale
  }
  return unit
}

/** Transposes [n, width] to [width, stride]. Columns from n on are zero. */
function columns(rows: Float32Array, width: number, stride: number): Float32Array<ArrayBuffer> {
  const transposed = new Float32Array(width * stride)
  const count = rows.length / width
  for (let d = 0; d < width; d++) for (let i = 0; i < count; i++) transposed[d * stride + i] = rows[i * width + d]
  return transposed
}

/** The k largest similarities of each query so far, in one binary heap per query with the worst at the root. */
class Nearest {
  private readonly similarities: Float32Array
  private readonly indices: Uint32Array
  private readonly held: Uint32Array

  constructor(
    private readonly queries: number,
    private readonly k: number,
  ) {
    this.similarities = new Float32Array(queries * k)
    this.indices = new Uint32Array(queries * k)
    this.held = new Uint32Array(queries)
  }

  /** Offers a query the rows firstRow, firstRow + 1, … Calls must come in ascending order of rows. */
  offer(query: number, similarities: Float32Array, firstRow: number): void {
    const at = query * this.k
    let i = 0
    while (i < similarities.length && this.held[query] < this.k)
      this.rise(at, this.held[query]++, similarities[i], firstRow + i++)
    let worst = this.similarities[at]
    for (; i < similarities.length; i++) {
      // Among equal similarities the earlier row stays.
      if (!(similarities[i] > worst)) continue
      this.sink(at, similarities[i], firstRow + i)
      worst = this.similarities[at]
    }
  }

  private rise(at: number, place: number, similarity: number, index: number): void {
    while (place > 0) {
      const parent = (place - 1) >> 1
      const up = at + parent
      // The new entry has the largest index, so it is the worst among equal similarities.
      if (this.similarities[up] < similarity) break
      this.put(at + place, this.similarities[up], this.indices[up])
      place = parent
    }
    this.put(at + place, similarity, index)
  }

  private sink(at: number, similarity: number, index: number): void {
    let place = 0
    for (;;) {
      let child = 2 * place + 1
      if (child >= this.k) break
      if (child + 1 < this.k && this.worse(at + child + 1, this.similarities[at + child], this.indices[at + child]))
        child++
      if (!this.worse(at + child, similarity, index)) break
      this.put(at + place, this.similarities[at + child], this.indices[at + child])
      place = child
    }
    this.put(at + place, similarity, index)
  }

  private worse(a: number, similarity: number, index: number): boolean {
    return this.similarities[a] < similarity || (this.similarities[a] === similarity && this.indices[a] > index)
  }

  private put(at: number, similarity: number, index: number): void {
    this.similarities[at] = similarity
    this.indices[at] = index
  }

  sorted(): Neighbours {
    const { k } = this
    const result = {
      k,
      indices: new Uint32Array(this.indices.length),
      similarities: new Float32Array(this.indices.length),
    }
    for (let at = 0; at < this.queries * k; at += k) {
      const order = Array.from({ length: k }, (_, i) => at + i)
      order.sort((a, b) => this.similarities[b] - this.similarities[a] || this.indices[a] - this.indices[b])
      order.forEach((from, i) => {
        result.indices[at + i] = this.indices[from]
        result.similarities[at + i] = this.similarities[from]
      })
    }
    return result
  }
}
