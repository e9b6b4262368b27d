/** Images with known bytes in the official formats. */

/** Byte of channel c of pixel p of an image, different for every image, pixel and channel. */
export const byteAt = (image: number, c: number, p: number) => (image * 31 + c * 97 + p * 7 + (p >> 5)) & 255

/** [images, side, side, 3] interleaved bytes, as a data set holds them. */
export const pixelsOf = (images: readonly number[], side: number): number[] =>
  images.flatMap((image) => Array.from({ length: 3 * side * side }, (_, i) => byteAt(image, i % 3, Math.floor(i / 3))))

/** CIFAR records: label bytes, red plane, green plane, blue plane; the last label is the image's number. */
export function cifarRecords(...labels: (number | [coarse: number, fine: number])[]): Uint8Array {
  const bytes: number[] = []
  for (const label of labels) {
    const each = [label].flat()
    bytes.push(...each)
    for (let c = 0; c < 3; c++) for (let p = 0; p < 1024; p++) bytes.push(byteAt(each[each.length - 1], c, p))
  }
  return Uint8Array.from(bytes)
}

/** STL-10 images: red plane, green plane, blue plane, each column after column. */
export function stlImages(...images: number[]): Uint8Array {
  const bytes: number[] = []
  for (const image of images)
    for (let c = 0; c < 3; c++)
      for (let x = 0; x < 96; x++) for (let y = 0; y < 96; y++) bytes.push(byteAt(image, c, 96 * y + x))
  return Uint8Array.from(bytes)
}
