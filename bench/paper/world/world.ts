/**
 * A finite world in which the averaging operator of the paper is known exactly. Its points are pictures: views of real
 * images, enumerated. An augmentation of an image takes one of its views, each with the same probability, and then jumps
 * to a similar picture: to picture z with a probability proportional to exp(−‖view − z‖² / (2σ²)). Without the jump, no
 * two images would share a picture, and all eigenvalues would be 0 or 1.
 *
 * P(x, z) is the probability that an augmentation of image x is picture z, ρ(z) its mean over the images, and
 * p(x | z) = P(x, z) / (n ρ(z)). T f(z) is the mean of f over the pictures that share an image with z:
 *
 *   T = (n ρ)⁻¹ Pᵀ P,  self-adjoint in L²(ρ);  its nonzero eigenvalues are those of the kernel K = P (n ρ)⁻¹ Pᵀ [n, n].
 */
import { EigenvalueDecomposition, Matrix } from 'ml-matrix'
import { input, matmul, Purpose, RandomStream, shuffle, type Engine } from '../../../engine/index.js'
import { drawViews, ROW_FLOATS } from '../../../train/augment/draw.js'
import { recipes } from '../../../train/augment/recipe.js'
import { augmentViews, deviceImages } from '../../../train/augment/views.js'
import { imageBytes, readImages, type ImageDataset } from '../../../train/data/dataset.js'

export interface WorldOptions {
  /** Images n. */
  images: number
  /** Enumerated views of an image. */
  views: number
  /** Height and width of a picture in pixels. */
  size: number
  /** σ² as a share of the mean squared distance between two pictures. */
  jump: number
}

export interface World extends WorldOptions {
  /** Number of pictures, images · views. */
  readonly count: number
  /** [count, size · size · 4], as the network takes them. */
  readonly pictures: Float32Array
  /** P [images, count]. */
  readonly forward: Float64Array
  /** ρ [count]. */
  readonly weights: Float64Array
  /** K [images, images]. */
  readonly kernel: Matrix
  /** Eigenvalues, largest first; the first is 1, of the constant function. */
  readonly eigenvalues: Float64Array
  /** Eigenfunction k at the pictures, with mean square 1 under ρ. */
  eigenfunction(k: number): Float64Array
}

/** Pictures whose distances are computed at once. */
const ROWS_AT_ONCE = 512

/** The first images of a data set as a world. Seed and epoch of the views are fixed, so that every machine has the same. */
export async function makeWorld(engine: Engine, dataset: ImageDataset, options: WorldOptions): Promise<World> {
  const { images, views, size } = options
  const pictures = await picturesOf(engine, dataset, options)
  const count = images * views
  const forward = await jumps(engine, pictures, options)
  const weights = new Float64Array(count)
  for (let x = 0; x < images; x++) for (let z = 0; z < count; z++) weights[z] += forward[x * count + z] / images
  return { ...options, size, count, pictures, forward, weights, ...spectrumOf(forward, weights, images) }
}

/** K with its eigenvalues, and the eigenfunctions of T, from P [images, count] and ρ. */
export function spectrumOf(
  forward: Float64Array,
  weights: Float64Array,
  images: number,
): Pick<World, 'kernel' | 'eigenvalues' | 'eigenfunction'> {
  const count = weights.length
  const scaled = forward.map((p, i) => p / Math.sqrt(images * weights[i % count]))
  const kernel = symmetric(images, (x, y) => dot(scaled, x * count, scaled, y * count, count))
  const { values, vectors } = eigen(kernel)
  return {
    kernel,
    eigenvalues: values,
    eigenfunction(k) {
      const factor = Math.sqrt(images / values[k])
      const values_ = new Float64Array(count)
      for (let x = 0; x < images; x++) {
        const weight = (factor * vectors.get(x, k)) / images
        for (let z = 0; z < count; z++) values_[z] += (weight * forward[x * count + z]) / weights[z]
      }
      return values_
    },
  }
}

/** Eigenvalues, largest first, and eigenvectors as columns of a symmetric matrix. */
export function eigen(matrix: Matrix): { values: Float64Array; vectors: Matrix } {
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(matrix, { assumeSymmetric: true })
  const order = realEigenvalues.map((_, i) => i).sort((a, b) => realEigenvalues[b] - realEigenvalues[a])
  return {
    values: Float64Array.from(order, (i) => realEigenvalues[i]),
    vectors: eigenvectorMatrix.subMatrixColumn(order),
  }
}

const symmetric = (size: number, entry: (i: number, j: number) => number): Matrix => {
  const matrix = Matrix.zeros(size, size)
  for (let i = 0; i < size; i++)
    for (let j = 0; j <= i; j++) {
      const value = entry(i, j)
      matrix.set(i, j, value)
      matrix.set(j, i, value)
    }
  return matrix
}

function dot(a: Float64Array, fromA: number, b: Float64Array, fromB: number, length: number): number {
  let total = 0
  for (let i = 0; i < length; i++) total += a[fromA + i] * b[fromB + i]
  return total
}

/** The enumerated views, one image after another: [images · views, size · size · 4]. */
async function picturesOf(
  engine: Engine,
  dataset: ImageDataset,
  { images, views, size }: WorldOptions,
): Promise<Float32Array> {
  const { height, width } = dataset
  const bytes = new Uint8Array(images * imageBytes(dataset))
  const indices = Uint32Array.from({ length: images }, (_, i) => i)
  await readImages(dataset, indices, bytes)
  const device = deviceImages({ count: images, height, width, images: bytes }, engine.target.maxBindingBytes)
  const recipe = { ...recipes.cifar, size }
  const drawn = drawViews(recipe, {
    ...{ seed: 1, epoch: 0, images: indices, views, sourceHeight: height, sourceWidth: width },
  })
  // `drawViews` is view-major; here the views of an image follow each other.
  const rows = new Float32Array(drawn.length)
  for (let v = 0; v < views; v++)
    for (let i = 0; i < images; i++)
      rows.set(
        drawn.subarray((v * images + i) * ROW_FLOATS, (v * images + i + 1) * ROW_FLOATS),
        (i * views + v) * ROW_FLOATS,
      )
  const made = augmentViews(device, input('rows', [images * views, ROW_FLOATS]), recipe)
  const program = await engine.compile({ label: 'pictures', outputs: { made } })
  try {
    await program.run({ rows })
    return await program.read('made')
  } finally {
    program.destroy()
    for (const { words } of device.shards) engine.release(words)
  }
}

/** P [images, count]: the mean over an image's views of the probabilities of a jump. */
async function jumps(
  engine: Engine,
  pictures: Float32Array,
  { images, views, jump }: WorldOptions,
): Promise<Float64Array> {
  const count = images * views
  const width = pictures.length / count
  const squares = Float64Array.from({ length: count }, (_, z) => {
    const picture = pictures.subarray(z * width, (z + 1) * width)
    return picture.reduce((sum, value) => sum + value * value, 0)
  })
  const centre = new Float64Array(width)
  pictures.forEach((value, i) => (centre[i % width] += value / count))
  // The mean of ‖a − b‖² over all pairs is twice the mean of ‖a‖² − ‖mean‖².
  const distance = 2 * (squares.reduce((a, b) => a + b) / count - centre.reduce((sum, c) => sum + c * c, 0))
  const sharpness = 1 / (2 * jump * distance)
  const forward = new Float64Array(images * count)
  const terms = new Float64Array(count)
  const rows = Math.min(ROWS_AT_ONCE, count)
  const some = input('some', [rows, width])
  const all = input('all', [count, width])
  const program = await engine.compile({
    label: 'products',
    outputs: { products: matmul(some, all, { transposeB: true }) },
  })
  try {
    for (let first = 0; first < count; first += rows) {
      await program.run({ some: pictures.subarray(first * width, (first + rows) * width), all: pictures })
      const products = await program.read('products')
      for (let row = 0; row < rows; row++) {
        const view = first + row
        const x = Math.floor(view / views)
        softmaxInto(terms, products.subarray(row * count, (row + 1) * count), squares, sharpness)
        for (let z = 0; z < count; z++) forward[x * count + z] += terms[z] / views
      }
    }
    return forward
  } finally {
    program.destroy()
  }
}

/** Probabilities proportional to exp(−sharpness ‖a − z‖²) for the pictures z, from the products ⟨a, z⟩ and ‖z‖². */
function softmaxInto(out: Float64Array, products: Float32Array, squares: Float64Array, sharpness: number): void {
  let largest = -Infinity
  for (let z = 0; z < out.length; z++) {
    out[z] = sharpness * (2 * products[z] - squares[z])
    largest = Math.max(largest, out[z])
  }
  let total = 0
  for (let z = 0; z < out.length; z++) {
    out[z] = Math.exp(out[z] - largest)
    total += out[z]
  }
  for (let z = 0; z < out.length; z++) out[z] /= total
}

/** Draws pictures: augmentations of images, and augmentations of pictures. */
export class Sampler {
  private readonly ofImage: Float64Array
  private readonly ofPicture: Float64Array
  private readonly stream: RandomStream

  constructor(
    private readonly world: Pick<World, 'images' | 'count' | 'forward' | 'weights'>,
    seed: number,
  ) {
    const { images, count, forward, weights } = world
    this.stream = new RandomStream(seed, Purpose.views)
    this.ofImage = cumulated(forward, count)
    const posterior = new Float64Array(images * count)
    for (let x = 0; x < images; x++)
      for (let z = 0; z < count; z++) posterior[z * images + x] = forward[x * count + z] / (images * weights[z])
    this.ofPicture = cumulated(posterior, images)
  }

  /** A picture that is an augmentation of the image. @param share of the image's probability that lies before the picture */
  ofImageAt(x: number, share = this.stream.uniform(0, 1)): number {
    return chosen(this.ofImage, x * this.world.count, this.world.count, share)
  }

  /** A picture that shares an image with the picture, by the operator T. @param share chooses the image */
  ofPictureAt(z: number, share = this.stream.uniform(0, 1)): number {
    return this.ofImageAt(chosen(this.ofPicture, z * this.world.images, this.world.images, share))
  }

  /**
   * m views of every image, view-major. With `clean`, B clean pictures follow, one of each image, and the views are
   * independent augmentations of it.
   *
   * The samples of an image are stratified. Its probabilities are cut into n equal strata. One sample comes from each, all at
   * the same random place of their stratum, in random order. Every picture then occurs almost as often as its probability
   * says, so the covariance of a batch hardly varies. Two samples of an image are not independent: their operator is
   * (n T − I) / (n − 1), up to the width of a stratum. It has the eigenfunctions of T, in the same order.
   *
   * @param draws how often every image is in the batch, each time with its own views: B = draws · images
   */
  batch(m: number, clean: boolean, draws = 1): Uint32Array {
    const { images } = this.world
    const rows = draws * images
    const list = new Uint32Array((m + Number(clean)) * rows)
    // What is drawn of the images themselves: the clean pictures or the views.
    const [first, each] = clean ? [m * rows, 1] : [0, m]
    for (let x = 0; x < images; x++) {
      this.strata(draws * each).forEach((share, i) => {
        list[first + (i % each) * rows + Math.floor(i / each) * images + x] = this.ofImageAt(x, share)
      })
      if (!clean) continue
      for (let b = x; b < rows; b += images)
        this.strata(m).forEach((share, a) => {
          list[a * rows + b] = this.ofPictureAt(list[first + b], share)
        })
    }
    return list
  }

  /** n shares in random order, one in each n-th of [0, 1), all at the same distance from its start. */
  private strata(n: number): Float64Array {
    const start = this.stream.uniform(0, 1)
    const order = Uint32Array.from({ length: n }, (_, k) => k)
    shuffle(order, this.stream)
    return Float64Array.from(order, (k) => (k + start) / n)
  }
}

/** Running sums of each row. */
function cumulated(matrix: Float64Array, width: number): Float64Array {
  const sums = new Float64Array(matrix.length)
  let total = 0
  for (let i = 0; i < matrix.length; i++) {
    total = i % width ? total + matrix[i] : matrix[i]
    sums[i] = total
  }
  return sums
}

/** The first index of a row whose running sum exceeds a share of the row's total. */
function chosen(sums: Float64Array, from: number, width: number, share: number): number {
  const goal = share * sums[from + width - 1]
  let [low, high] = [0, width - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if (sums[from + middle] > goal) high = middle
    else low = middle + 1
  }
  return low
}
