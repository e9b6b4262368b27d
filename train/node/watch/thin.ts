/** Thinning of long series for drawing. */

/** Points of a line, x ascending. */
export interface Points {
  x: number[]
  y: number[]
}

/**
 * At most `most` of the points from index `begin` to `end`: the first, the last and, of each bucket between, the
 * smallest and the largest in their order, so that spikes stay visible.
 *
 * @param most at least 4
 */
export function thin(
  x: ArrayLike<number>,
  y: ArrayLike<number>,
  most: number,
  begin = 0,
  end: number = x.length,
): Points {
  const count = end - begin
  const kept: number[] = []
  if (count <= most) for (let i = begin; i < end; i++) kept.push(i)
  else {
    const buckets = Math.floor((most - 2) / 2)
    const inner = count - 2
    kept.push(begin)
    for (let bucket = 0; bucket < buckets; bucket++) {
      const from = begin + 1 + Math.floor((bucket * inner) / buckets)
      const to = begin + 1 + Math.floor(((bucket + 1) * inner) / buckets)
      let least = from
      let largest = from
      for (let i = from + 1; i < to; i++) {
        if (y[i] < y[least]) least = i
        if (y[i] > y[largest]) largest = i
      }
      kept.push(Math.min(least, largest))
      if (least !== largest) kept.push(Math.max(least, largest))
    }
    kept.push(end - 1)
  }
  return { x: kept.map((i) => x[i]), y: kept.map((i) => y[i]) }
}

/** At most `most` of some items, evenly spread, the first and the last among them. */
export function spread<T>(items: readonly T[], most: number): T[] {
  if (items.length <= most) return [...items]
  return Array.from({ length: most }, (_, i) => items[Math.round((i * (items.length - 1)) / (most - 1))])
}

/** The index of the first of some ascending numbers that is above `limit`. */
export function firstAbove(ascending: ArrayLike<number>, limit: number): number {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ascending[middle] > limit) high = middle
    else low = middle + 1
  }
  return low
}
