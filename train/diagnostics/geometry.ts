/**
 * Alignment and uniformity of features on the unit sphere: "Understanding contrastive representation learning through
 * alignment and uniformity on the hypersphere" (Wang & Isola 2020).
 */

const TEMPERATURE = 2

/**
 * The mean squared distance between the L2-normalised features of two views of an image, over images and pairs of
 * views: 0 if all views of an image have the same features, 2 if their features are orthogonal.
 *
 * @param views one array [N, D] per view, with the same images in the same order
 * @throws Error if there are fewer than two views, or their sizes differ
 */
export function alignment(views: readonly Float32Array[], width: number): number {
  if (views.length < 2 || views.some((view) => view.length !== views[0].length))
    throw new Error(
      `alignment: needs at least two views of the same images; given ${views.map((v) => v.length).join(', ')}`,
    )
  const unit = views.map((view) => unitRows(view, width))
  let sum = 0
  let pairs = 0
  for (let a = 0; a < unit.length; a++)
    for (let b = 0; b < a; b++)
      for (let i = 0; i < unit[a].length; i++) {
        sum += squaredDistance(unit[a][i], unit[b][i])
        pairs++
      }
  return sum / pairs
}

/**
 * The log of the mean of exp(−2 · squared distance) over all pairs of L2-normalised features: 0 if all features are
 * equal, close to −4 if they are uniform on a sphere of many dimensions. O(N² D).
 *
 * @param features [N, D], N at least 2
 */
export function uniformity(features: Float32Array, width: number): number {
  const unit = unitRows(features, width)
  if (unit.length < 2) throw new Error('uniformity: needs at least two features')
  let sum = 0
  for (let i = 0; i < unit.length; i++)
    for (let j = 0; j < i; j++) sum += Math.exp(-TEMPERATURE * squaredDistance(unit[i], unit[j]))
  return Math.log((2 * sum) / (unit.length * (unit.length - 1)))
}

/** Rows divided by their length; rows of zeros do not change. */
function unitRows(features: Float32Array, width: number): Float64Array[] {
  return Array.from({ length: features.length / width }, (_, i) => {
    const row = Float64Array.from(features.subarray(i * width, (i + 1) * width))
    const length = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0))
    return length > 0 ? row.map((value) => value / length) : row
  })
}

function squaredDistance(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let d = 0; d < a.length; d++) sum += (a[d] - b[d]) ** 2
  return sum
}
