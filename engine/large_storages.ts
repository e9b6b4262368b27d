/**
 * Temporaries, inputs and outputs that one buffer of the adapter cannot hold. Such a storage is cut into equal parts. Each
 * part is a buffer of its own, and no dispatch reads or writes across the end of a part.
 */
import { align } from './leaves.js'
import { resolve, type Slice, type Target } from './plan.js'

export const mebibytes = (bytes: number): string =>
  bytes < 2 ** 20 ? `${bytes} bytes` : `${(bytes / 2 ** 20).toFixed(0)} MiB`

/** What to do about a tensor that is too large. */
export const REMEDY = 'use a smaller batch, fewer views, smaller images or a narrower network'

/** How many equal parts a storage has: a power of 2, so that the parts of a smaller one end where a larger one's do. */
export function partsFor(bytes: number, { maxBufferBytes }: Target): number {
  let parts = 1
  while (bytes / parts > maxBufferBytes) parts *= 2
  return parts
}

export const uneven = (parts: number): string =>
  `a tensor is over the adapter's largest buffer, and does not fall into ${parts} equal parts: use a batch that is a ` +
  `multiple of ${parts}, or ${REMEDY.replace('use ', '')}`

/** The slice within the part of its storage that holds all of it. @throws Error if it lies in two parts */
export function inOnePart(slice: Slice, what: string): Slice {
  const { storage, offset, bytes } = slice
  if (!storage.parts) return slice
  const each = storage.bytes / storage.parts.length
  const i = Math.floor(offset / each)
  if (offset + bytes > (i + 1) * each)
    throw new Error(
      `${what} needs ${mebibytes(bytes)} of a tensor that is over the adapter's largest buffer, from two of its parts: ${REMEDY}`,
    )
  return { storage: storage.parts[i], offset: offset - i * each, bytes }
}

/** A slice, cut where a part of its storage ends: one slice for each buffer that holds some of its bytes. */
export function slicesByBuffer(slice: Slice): Slice[] {
  const { storage, offset, bytes } = resolve(slice)
  const { parts } = storage
  if (!parts) return [{ storage, offset, bytes }]
  const each = storage.bytes / parts.length
  return parts.flatMap((part, i) => {
    const [first, end] = [Math.max(offset, i * each), Math.min(offset + bytes, (i + 1) * each)]
    return first < end ? [{ storage: part, offset: first - i * each, bytes: end - first }] : []
  })
}

/** Cuts each of some equal parts into pieces of at most `limit` bytes. */
export function pieces(total: number, parts: number, limit: number): { offset: number; bytes: number }[] {
  const size = align(limit + 1) - 256
  const list = []
  for (let first = 0; first < total; first += total / parts)
    for (let at = 0; at < total / parts; at += size)
      list.push({ offset: first + at, bytes: Math.min(size, total / parts - at) })
  return list
}
