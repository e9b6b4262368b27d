/** Reads a network while it learns: correlations of its embeddings, spectrum of its features, and nearest neighbours. */
import {
  crossCorrelation,
  input,
  l2NormalizeRows,
  sliceRows,
  standardizeColumns,
  type Engine,
} from '../../../engine/index.js'
import { drawViews, ROW_FLOATS } from '../../augment/draw.js'
import { augmentViews } from '../../augment/views.js'
import type { PretrainConfig } from '../../config/config.js'
import type { ArrayDataset } from '../../data/dataset.js'
import { covarianceEigenvalues, effectiveRank, powerLawExponent } from '../../diagnostics/spectrum.js'
import { BatchImages } from '../../feed/batch_images.js'
import { batchFor, featureExtractor } from '../../readout/features.js'
import { nearestNeighbours } from '../../readout/knn.js'
import type { Network } from '../../step/network.js'
import type { Reading } from '../protocol.js'

/** Images whose two views are correlated. */
const PAIRS = { cpu: 128, gpu: 256 }
/** Eigenvalues that the page draws. */
const EIGENVALUES = 100
const NEIGHBOURS = 8
/** The epoch whose random numbers draw the two views. No pretraining reaches it. */
const EPOCH = 2 ** 32 - 2
/** Images per batch in eval mode: few, because their memory is held while training goes on. */
const BATCH = 64

export interface Reader {
  /** @throws the reason of `signal` soon after it is aborted: a pause does not wait for all parts of a reading */
  read(of: Reading['of'], step: number, signal?: AbortSignal): Promise<Reading>
  release(): void
}

/** Records the programs that read a network. Each `read` uses its present weights. */
export async function openReader(
  engine: Engine,
  network: Pick<Network, 'backbone' | 'projector'>,
  dataset: ArrayDataset,
  config: PretrainConfig,
  shown: number,
): Promise<Reader> {
  const { backbone } = network
  const { augmentation: recipe, seed, projectorDim: dim } = config
  const width = backbone.features
  const batch = Math.min(BATCH, batchFor(backbone, recipe.size), shown)
  const extractor = await featureExtractor(engine, backbone, dataset, { recipe, batch })
  const pairs = await correlations(engine, network, dataset, config).catch((error: unknown) => {
    extractor.release()
    throw error
  })
  const indices = Uint32Array.from({ length: shown }, (_, i) => i)
  return {
    async read(of, step, signal) {
      signal?.throwIfAborted()
      const matrix = await pairs.read()
      signal?.throwIfAborted()
      const features = await extractor.read({ seed, indices })
      signal?.throwIfAborted()
      const eigenvalues = covarianceEigenvalues(features, width)
      const alpha = powerLawExponent(eigenvalues)
      const nearest = await neighboursOf(engine, features, width)
      return {
        ...{ of, step, dim, matrix, features: width },
        eigenvalues: Array.from(eigenvalues.subarray(0, EIGENVALUES)),
        ...(Number.isFinite(alpha) && { alpha }),
        effectiveRank: effectiveRank(eigenvalues),
        ...nearest,
        ...(dataset.labels.length && { agreement: agreement(nearest, dataset.labels) }),
      }
    },
    release() {
      pairs.release()
      extractor.release()
    },
  }
}

/** The correlation matrix [d, d] of two views' embeddings over a fixed set of images, with statistics of this batch. */
async function correlations(
  engine: Engine,
  { backbone, projector }: Pick<Network, 'backbone' | 'projector'>,
  dataset: ArrayDataset,
  { augmentation, seed, bn }: PretrainConfig,
): Promise<{ read(): Promise<Float32Array>; release(): void }> {
  const count = Math.min(dataset.count, PAIRS[engine.target.adapterClass])
  const recipe = { ...augmentation, crops: undefined }
  const images = new BatchImages(engine, dataset, count)
  const rows = input('rows', [2 * count, ROW_FLOATS])
  const mode = { training: true, groups: bn === 'per-view' ? 2 : 1 }
  const z = l2NormalizeRows(
    projector.forward(backbone.forward(augmentViews(images.onDevice, rows, recipe), mode), mode),
  )
  const [first, second] = [0, count].map((start) => standardizeColumns(sliceRows(z, start, count)))
  const outputs = { matrix: crossCorrelation(first, second) }
  const program = await engine.compile({ label: 'correlations', outputs }).catch((error: unknown) => {
    images.release()
    throw error
  })
  const chosen = Uint32Array.from({ length: count }, (_, i) => i)
  await images.load(chosen)
  const drawn = images.place(
    drawViews(recipe, { seed, epoch: EPOCH, images: chosen, views: 2, ...images.onDevice }),
    chosen,
  )
  return {
    async read() {
      await program.run({ rows: drawn })
      return program.read('matrix')
    },
    release() {
      program.destroy()
      images.release()
    },
  }
}

type Nearest = Pick<Reading, 'neighbours' | 'similarities' | 'k'>

/** The nearest other rows of each row. */
async function neighboursOf(engine: Engine, features: Float32Array, width: number): Promise<Nearest> {
  const count = features.length / width
  // A row is its own nearest one.
  const found = await nearestNeighbours(engine, features, features, { width, k: NEIGHBOURS + 1 })
  const k = found.k - 1
  const neighbours = new Uint32Array(count * k)
  const similarities = new Float32Array(count * k)
  for (let row = 0; row < count; row++) {
    let to = row * k
    for (let i = row * found.k; i < (row + 1) * found.k && to < (row + 1) * k; i++) {
      if (found.indices[i] === row) continue
      neighbours[to] = found.indices[i]
      similarities[to++] = found.similarities[i]
    }
  }
  return { neighbours, similarities, k }
}

/** The share of rows whose nearest neighbour has their label. */
function agreement({ neighbours, k }: Nearest, labels: ArrayLike<number>): number {
  const count = neighbours.length / k
  let same = 0
  for (let row = 0; row < count; row++) if (labels[neighbours[row * k]] === labels[row]) same++
  return same / count
}
