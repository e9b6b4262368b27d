/**
 * The record format of CIFAR's binary versions: one label byte (CIFAR-100: the coarse label, then the fine label), then
 * 1,024 red, 1,024 green and 1,024 blue bytes of the image, each plane in row order. This file handles bytes, not files.
 * Format: https://www.cs.toronto.edu/~kriz/cifar.html (sections "Binary version" and "The CIFAR-100 dataset").
 */

/** Height and width of an image in pixels. */
export const CIFAR_SIZE = 32
const PIXELS = CIFAR_SIZE * CIFAR_SIZE

/** The difference between the two formats. */
export interface RecordFormat {
  /** Name of the data set in errors. */
  title: string
  /** Number of classes of each label byte. The last label is kept. */
  labelClasses: readonly number[]
}

export const CIFAR10_RECORDS: RecordFormat = { title: 'CIFAR-10', labelClasses: [10] }
export const CIFAR100_RECORDS: RecordFormat = { title: 'CIFAR-100', labelClasses: [20, 100] }

export const recordBytes = ({ labelClasses }: RecordFormat): number => labelClasses.length + 3 * PIXELS

/**
 * Decodes records.
 *
 * @param bytes whole records, one after another
 * @param source name of the bytes in errors, usually the path of the file
 * @returns images as [count, 32, 32, 3] bytes with RGB interleaved, and [count] labels
 * @throws when the bytes are not a positive whole number of records, or a label is too large
 */
export function decodeRecords(
  bytes: Uint8Array,
  format: RecordFormat,
  source: string,
): { images: Uint8Array; labels: Uint8Array } {
  const { title, labelClasses } = format
  const stride = recordBytes(format)
  const count = Math.floor(bytes.length / stride)
  if (count === 0 || bytes.length % stride !== 0) {
    throw new Error(
      `${source}: truncated or not ${title}: ${bytes.length} bytes are not a multiple of ${stride} (one record)`,
    )
  }
  const images = new Uint8Array(count * 3 * PIXELS)
  const labels = new Uint8Array(count)
  for (let record = 0; record < count; record++) {
    const start = record * stride
    labelClasses.forEach((classes, i) => {
      const label = bytes[start + i]
      if (label >= classes)
        throw new Error(`${source}: record ${record} has label ${label}, the largest is ${classes - 1}`)
      labels[record] = label
    })
    let target = record * 3 * PIXELS
    const first = start + labelClasses.length
    for (let red = first; red < first + PIXELS; red++) {
      images[target++] = bytes[red]
      images[target++] = bytes[red + PIXELS]
      images[target++] = bytes[red + 2 * PIXELS]
    }
  }
  return { images, labels }
}

/**
 * Encodes CIFAR-10 records: the inverse of `decodeRecords`.
 *
 * @param images [count, 32, 32, 3] bytes, RGB interleaved
 * @param labels [count]
 */
export function encodeRecords(images: Uint8Array, labels: ArrayLike<number>): Uint8Array {
  if (images.length !== labels.length * 3 * PIXELS) {
    throw new Error(`CIFAR-10 records: ${images.length} image bytes do not fit ${labels.length} labels`)
  }
  const stride = recordBytes(CIFAR10_RECORDS)
  const bytes = new Uint8Array(labels.length * stride)
  let source = 0
  for (let record = 0; record < labels.length; record++) {
    const start = record * stride
    bytes[start] = labels[record]
    for (let red = start + 1; red <= start + PIXELS; red++) {
      bytes[red] = images[source++]
      bytes[red + PIXELS] = images[source++]
      bytes[red + 2 * PIXELS] = images[source++]
    }
  }
  return bytes
}
