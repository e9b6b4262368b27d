/** Nearest neighbours in feature space, for looking at. */

/** Rows scaled to unit length, in f64; a row of zeros stays one. */
function unitRow(features: Float32Array, row: number, width: number): Float64Array {
  const unit = Float64Array.from(features.subarray(row * width, (row + 1) * width))
  const length = Math.hypot(...unit)
  return length > 0 ? unit.map((value) => value / length) : unit
}

/**
 * The `k` rows of `bank` nearest to each query by cosine similarity, nearest first; of equals the earlier row.
 *
 * @param bank [N, width] features to search
 * @param queries [Q, width] features to search for
 * @returns for each query the indices of its neighbours in `bank`, and min(k, N) of them
 */
export function nearestNeighbours(bank: Float32Array, queries: Float32Array, width: number, k: number): number[][] {
  if (bank.length % width || queries.length % width)
    throw new RangeError(`neighbours: ${bank.length} and ${queries.length} numbers are not rows of ${width}`)
  const rows = bank.length / width
  const kept = Math.min(k, rows)
  const wanted = Array.from({ length: queries.length / width }, (_, q) => unitRow(queries, q, width))
  const best = wanted.map(() => ({ rows: [] as number[], similarities: [] as number[] }))
  for (let row = 0; row < rows; row++) {
    const candidate = unitRow(bank, row, width)
    wanted.forEach((query, q) => {
      let similarity = 0
      for (let i = 0; i < width; i++) similarity += query[i] * candidate[i]
      const { rows: at, similarities } = best[q]
      if (at.length === kept && similarity <= similarities[kept - 1]) return
      let place = at.length
      while (place > 0 && similarity > similarities[place - 1]) place--
      at.splice(place, 0, row)
      similarities.splice(place, 0, similarity)
      if (at.length > kept) {
        at.pop()
        similarities.pop()
      }
    })
  }
  return best.map(({ rows: at }) => at)
}
