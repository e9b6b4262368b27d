/**
 * Resizing of pictures by separable filters, with the integer arithmetic of Pillow's `Image.resize`, so that a packed
 * folder can equal what torchvision's `Resize` and `CenterCrop` make of the same pictures.
 *
 * Output pixel i looks at the input around c = (i + 0.5) · scale, scale = input / output, through a filter that is
 * stretched by max(scale, 1): enlarging interpolates, shrinking averages (antialias). Pixel centres stay aligned.
 */

/** A filter and the distance beyond which it is zero. */
interface Filter {
  readonly support: number
  weight(distance: number): number
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x))

const filters = {
  /** Triangle of half-width 1. */
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  /** Lanczos window of 3 lobes. */
  lanczos: { support: 3, weight: (x) => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
} satisfies Record<string, Filter>

/** A name of a filter. */
export type ResizeFilter = keyof typeof filters
export const resizeFilters = Object.keys(filters) as [ResizeFilter, ...ResizeFilter[]]

/**
 * How a picture becomes part of a packed folder: its central square, resized by a filter; or 'whole': all of it, shrunk if
 * its longer side is larger than the resolution.
 */
export type PictureResize = ResizeFilter | 'whole'
export const pictureResizes = [...resizeFilters, 'whole'] as [PictureResize, ...PictureResize[]]

/** RGB bytes [height, width, 3], row-major. */
export interface Picture {
  readonly pixels: Uint8Array
  readonly height: number
  readonly width: number
}

/** Part of a resized picture, in its pixels. */
export interface Crop {
  readonly top: number
  readonly left: number
  readonly height: number
  readonly width: number
}

/** Bits after the binary point of the fixed-point weights. */
const FRACTION_BITS = 22
const ONE = 2 ** FRACTION_BITS
const CHANNELS = 3

/** For each output pixel: its first input pixel, and `taps` weights (zeros at the end where it has fewer). */
interface Weights {
  readonly taps: number
  readonly first: Int32Array
  readonly values: Float64Array
}

/** The weights of output pixels `from` … `from + count − 1` where `input` pixels become `output`. */
function weightsOf(input: number, output: number, from: number, count: number, name: ResizeFilter): Weights {
  const { support, weight } = filters[name]
  const scale = input / output
  const stretch = Math.max(scale, 1)
  const reach = support * stretch
  const taps = Math.ceil(reach) * 2 + 1
  const first = new Int32Array(count)
  const values = new Float64Array(count * taps)
  for (let i = 0; i < count; i++) {
    const centre = (from + i + 0.5) * scale
    const start = Math.max(0, Math.trunc(centre - reach + 0.5))
    const end = Math.min(input, Math.trunc(centre + reach + 0.5))
    let sum = 0
    for (let k = start; k < end; k++) {
      const value = weight((k + 0.5 - centre) / stretch)
      values[i * taps + k - start] = value
      sum += value
    }
    // Weights are rounded half away from zero.
    for (let k = i * taps; k < (i + 1) * taps; k++) {
      const fixed = (values[k] / sum) * ONE
      values[k] = Math.trunc(fixed + Math.sign(fixed) / 2)
    }
    first[i] = start
  }
  return { taps, first, values }
}

const toByte = (fixed: number): number => Math.max(0, Math.min(255, Math.floor(fixed / ONE)))

/**
 * Resizes a picture and keeps a part of the result. Only that part is computed.
 *
 * @param size of the whole resized picture, pixels
 * @param crop part that is kept; must lie inside
 * @returns [crop.height, crop.width, 3] bytes
 */
export function resize(
  { pixels, height, width }: Picture,
  size: { height: number; width: number },
  crop: Crop,
  filter: ResizeFilter,
): Uint8Array {
  const across = weightsOf(width, size.width, crop.left, crop.width, filter)
  const down = weightsOf(height, size.height, crop.top, crop.height, filter)
  // The horizontal pass comes first and rounds to bytes; it covers only rows that the vertical pass reads.
  const top = down.first[0]
  const bottom = Math.min(height, down.first[crop.height - 1] + down.taps)
  const rows = new Uint8Array((bottom - top) * crop.width * CHANNELS)
  for (let y = top; y < bottom; y++)
    for (let x = 0; x < crop.width; x++) {
      const start = (y * width + across.first[x]) * CHANNELS
      const taps = Math.min(across.taps, width - across.first[x])
      let [r, g, b] = [ONE / 2, ONE / 2, ONE / 2]
      for (let k = 0; k < taps; k++) {
        const weight = across.values[x * across.taps + k]
        r += weight * pixels[start + CHANNELS * k]
        g += weight * pixels[start + CHANNELS * k + 1]
        b += weight * pixels[start + CHANNELS * k + 2]
      }
      const at = ((y - top) * crop.width + x) * CHANNELS
      rows[at] = toByte(r)
      rows[at + 1] = toByte(g)
      rows[at + 2] = toByte(b)
    }
  const stride = crop.width * CHANNELS
  const out = new Uint8Array(crop.height * stride)
  const sums = new Float64Array(stride)
  for (let y = 0; y < crop.height; y++) {
    sums.fill(ONE / 2)
    const taps = Math.min(down.taps, height - down.first[y])
    for (let k = 0; k < taps; k++) {
      const weight = down.values[y * down.taps + k]
      if (weight === 0) continue
      const row = (down.first[y] + k - top) * stride
      for (let i = 0; i < stride; i++) sums[i] += weight * rows[row + i]
    }
    for (let i = 0; i < stride; i++) out[y * stride + i] = toByte(sums[i])
  }
  return out
}

/** Rounds half to even, as Python does. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor
}

/**
 * The shorter side becomes `side` pixels, the longer one is rounded down, and the central square is kept, with the
 * rounding of torchvision's `Resize(side)` and `CenterCrop(side)`.
 */
export function centralSquare({ height, width }: Pick<Picture, 'height' | 'width'>, side: number) {
  const size =
    width <= height
      ? { height: Math.trunc((side * height) / width), width: side }
      : { height: side, width: Math.trunc((side * width) / height) }
  const crop: Crop = {
    top: roundHalfEven((size.height - side) / 2),
    left: roundHalfEven((size.width - side) / 2),
    height: side,
    width: side,
  }
  return { size, crop }
}
