/**
 * The record format of CIFAR-10's binary version: one label byte, then the image's 1,024 red,
 * 1,024 green and 1,024 blue bytes, each plane in row order. Bytes only, no files.
 * Format: https://www.cs.toronto.edu/~kriz/cifar.html (section "Binary version").
 */

/** Height and width of an image in pixels. */
export const CIFAR_SIZE = 32
const PIXELS = CIFAR_SIZE * CIFAR_SIZE
export const RECORD_BYTES = 1 + 3 * PIXELS

/**
 * Takes records apart.
 *
 * @param bytes whole records, end to end
 * @param classCount labels must be below it
 * @param source named in errors, usually the file's path
 * @returns images as [count, 32, 32, 3] bytes with RGB interleaved, and [count] labels
 * @throws when the bytes are not a whole number of records (at least one) or a label is too large
 */
export function decodeRecords(
  bytes: Uint8Array,
  classCount: number,
  source: string,
): { images: Uint8Array; labels: Uint8Array } {
  const count = Math.floor(bytes.length / RECORD_BYTES)
  if (count === 0 || bytes.length % RECORD_BYTES !== 0) {
    throw new Error(
      `${source}: truncated or not CIFAR-10: ${bytes.length} bytes are not a multiple of ${RECORD_BYTES} (one record)`,
    )
  }
  const images = new Uint8Array(count * 3 * PIXELS)
  const labels = new Uint8Array(count)
  for (let record = 0; record < count; record++) {
    const start = record * RECORD_BYTES
    const label = bytes[start]
    if (label >= classCount) {
      throw new Error(`${source}: record ${record} has label ${label}, the largest is ${classCount - 1}`)
    }
    labels[record] = label
    let target = record * 3 * PIXELS
    for (let red = start + 1; red <= start + PIXELS; red++) {
      images[target++] = bytes[red]
      images[target++] = bytes[red + PIXELS]
      images[target++] = bytes[red + 2 * PIXELS]
    }
  }
  return { images, labels }
}

/**
 * The inverse of `decodeRecords`.
 *
 * @param images [count, 32, 32, 3] bytes, RGB interleaved
 * @param labels [count]
 */
export function encodeRecords(images: Uint8Array, labels: ArrayLike<number>): Uint8Array {
  if (images.length !== labels.length * 3 * PIXELS) {
    throw new Error(`CIFAR-10 records: ${images.length} image bytes do not fit ${labels.length} labels`)
  }
  const bytes = new Uint8Array(labels.length * RECORD_BYTES)
  let source = 0
  for (let record = 0; record < labels.length; record++) {
    const start = record * RECORD_BYTES
    bytes[start] = labels[record]
    for (let red = start + 1; red <= start + PIXELS; red++) {
      bytes[red] = images[source++]
      bytes[red + PIXELS] = images[source++]
      bytes[red + 2 * PIXELS] = images[source++]
    }
  }
  return bytes
}
