/**
 * The augmentation of one view in f64, written independently of the kernel: one step on the whole image after another,
 * crop boxes and flags instead of matrices, resizing by dense weight matrices.
 */

export interface ReferenceView {
  box: { top: number; left: number; height: number; width: number }
  flip: boolean
  brightness: number
  contrast: number
  saturation: number
  hue: number
  hsvHue: number
  greyscale: boolean
  blur: number
  solarize: boolean
}

type Pixel = [number, number, number]

const clip = (x: number) => Math.min(1, Math.max(0, x))
const grey = ([r, g, b]: Pixel) => 0.2989 * r + 0.587 * g + 0.114 * b
const each = (view: Pixel[], step: (value: number, pixel: Pixel, channel: number) => number) =>
  view.map((pixel) => pixel.map((value, channel) => step(value, pixel, channel)) as Pixel)

/**
 * The weights [to][from] of one axis. Enlarging is bilinear, with PyTorch's source index for align_corners = False.
 * Shrinking takes the difference of the running integral at the ends of the interval.
 */
export function resizeWeights(from: number, to: number): number[][] {
  const ratio = from / to
  return Array.from({ length: to }, (_, i) => {
    const weights = new Array<number>(from).fill(0)
    if (from > to) {
      const integral = (x: number, pixel: number) => Math.min(1, Math.max(0, x - pixel))
      return weights.map((_, p) => (integral((i + 1) * ratio, p) - integral(i * ratio, p)) / ratio)
    }
    const source = Math.max(0, (i + 0.5) * ratio - 0.5)
    const below = Math.floor(source)
    weights[below] += 1 - (source - below)
    weights[Math.min(below + 1, from - 1)] += source - below
    return weights
  })
}

/** OpenCV's INTER_AREA where an axis of the image enlarges: two pixels are mixed, on this axis too. */
function mixedWeights(from: number, to: number): number[][] {
  const ratio = from / to
  return Array.from({ length: to }, (_, i) => {
    const weights = new Array<number>(from).fill(0)
    const first = Math.floor(i * ratio + 1e-9)
    const share = i + 1 - (first + 1) / ratio
    const next = share <= 1e-9 ? 0 : share - Math.floor(share + 1e-9)
    weights[first] += 1 - next
    weights[Math.min(first + 1, from - 1)] += next
    return weights
  })
}

/** Rotation by `angle` about (1, 1, 1), by Rodrigues' formula. */
export function rotateHue([r, g, b]: Pixel, angle: number): Pixel {
  const cos = Math.cos(angle)
  const sin = Math.sin(angle) / Math.sqrt(3)
  const along = ((r + g + b) / 3) * (1 - cos)
  return [r * cos + (b - g) * sin + along, g * cos + (r - b) * sin + along, b * cos + (g - r) * sin + along]
}

/** Adds `turns` to the hue in HSV, with the usual conversion by the hexagon's six sectors. */
export function shiftHue(pixel: Pixel, turns: number): Pixel {
  const [r, g, b] = pixel
  const value = Math.max(...pixel)
  const low = Math.min(...pixel)
  if (value === low) return pixel
  const degrees = 60 / (value - low)
  const before = value === r ? degrees * (g - b) : value === g ? 120 + degrees * (b - r) : 240 + degrees * (r - g)
  const hue = (((before + 360 * turns) % 360) + 360) % 360
  const sector = Math.floor(hue / 60)
  const rising = low + (value - low) * (hue / 60 - sector)
  const falling = value + low - rising
  const sectors: Pixel[] = [
    [value, rising, low],
    [falling, value, low],
    [low, value, rising],
    [low, falling, value],
    [rising, low, value],
    [value, low, falling],
  ]
  return sectors[sector]
}

/** One line blurred by the dense product with the Gaussian weights of `kernel` pixels, with mirrored edges. */
function blurLine(line: number[], sigma: number, kernel: number): number[] {
  const reach = (kernel - 1) / 2
  const padded = [...line.slice(1, reach + 1).reverse(), ...line, ...line.slice(-reach - 1, -1).reverse()]
  const weights = Array.from({ length: kernel }, (_, k) => Math.exp(-((k - reach) ** 2) / (2 * sigma ** 2)))
  const total = weights.reduce((a, b) => a + b)
  return line.map((_, i) => weights.reduce((sum, w, k) => sum + (w / total) * padded[i + k], 0))
}

function blur(pixels: Pixel[], size: number, sigma: number, kernel: number): Pixel[] {
  const planes = [0, 1, 2].map((channel) => {
    const lines = Array.from({ length: size }, (_, i) =>
      pixels.slice(i * size, (i + 1) * size).map((pixel) => pixel[channel]),
    )
    const across = lines.map((line) => blurLine(line, sigma, kernel))
    const down = lines.map((_, j) =>
      blurLine(
        across.map((line) => line[j]),
        sigma,
        kernel,
      ),
    )
    return (p: number) => down[p % size][Math.floor(p / size)]
  })
  return pixels.map((_, p) => planes.map((plane) => plane(p)) as Pixel)
}

/**
 * @param image bytes [height, width, 3]
 * @param width of the image, pixels
 * @param kernel pixels of the blur's window along one axis, odd
 * @param area resizes as OpenCV's INTER_AREA does
 * @param firstGrey contrast and saturation blend with the grey before brightness, and only the hue's result is clipped
 * @returns [size, size, 4] as the kernel lays it out
 */
export function referenceView(
  image: Uint8Array,
  width: number,
  view: ReferenceView,
  size: number,
  mean: number[],
  std: number[],
  kernel = 3,
  { area = false, firstGrey = false } = {},
): Float64Array {
  const { box } = view
  const weights = area && Math.min(box.height, box.width) < size ? mixedWeights : resizeWeights
  const down = weights(box.height, size)
  const across = weights(box.width, size)
  const source = (y: number, x: number, channel: number) =>
    image[((box.top + y) * width + box.left + x) * 3 + channel] / 255
  let pixels: Pixel[] = []
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      const column = across[view.flip ? size - 1 - j : j]
      pixels.push(
        [0, 1, 2].map((channel) =>
          down[i].reduce(
            (sum, wy, y) =>
              wy === 0 ? sum : sum + wy * column.reduce((s, wx, x) => s + wx * source(y, x, channel), 0),
            0,
          ),
        ) as Pixel,
      )
    }
  }
  const meanGreyOf = (of: Pixel[]) => of.reduce((sum, pixel) => sum + grey(pixel), 0) / of.length
  if (firstGrey) {
    const greys = pixels.map(grey)
    const meanGrey = meanGreyOf(pixels)
    pixels = each(pixels, (value) => meanGrey + view.contrast * (value * view.brightness - meanGrey))
    pixels = pixels.map((pixel, i) => pixel.map((value) => greys[i] + view.saturation * (value - greys[i])) as Pixel)
  } else {
    pixels = each(pixels, (value) => clip(value * view.brightness))
    const meanGrey = meanGreyOf(pixels)
    pixels = each(pixels, (value) => clip(meanGrey + view.contrast * (value - meanGrey)))
    pixels = each(pixels, (value, pixel) => clip(grey(pixel) + view.saturation * (value - grey(pixel))))
  }
  pixels = pixels.map((pixel) => rotateHue(pixel, view.hue).map(clip) as Pixel)
  if (view.hsvHue !== 0) pixels = pixels.map((pixel) => shiftHue(pixel, view.hsvHue))
  if (view.greyscale) pixels = each(pixels, (_, pixel) => grey(pixel))
  if (view.blur > 0) pixels = blur(pixels, size, view.blur, kernel)
  if (view.solarize) pixels = each(pixels, (value) => (value < 0.5 ? value : 1 - value))
  pixels = each(pixels, (value, _, channel) => (value - mean[channel]) / std[channel])
  return Float64Array.from(pixels.flatMap((pixel) => [...pixel, 0]))
}
