/** How products walk over images, and the Params that the kernels of several variants share. */

/** How the taps of a kernel walk over an image. These are Params of conv2d.wgsl, which explains them. */
export interface Walk {
  /** Output pixels of this product: i and j run over it, and (i, j) is stored at (i·step + y0, j·step + x0). */
  grid: readonly [height: number, width: number]
  step: number
  y0: number
  x0: number
  /** Tap (t, u) reads x at (i·stride + originY + t·direction, …) and w at (ky0 + t·tapStep, …). */
  stride: number
  originY: number
  originX: number
  direction: 1 | -1
  tapsY: number
  tapsX: number
  ky0: number
  kx0: number
  tapStep: number
}

/** Stride and padding, the same along height and width. */
export interface Stepping {
  stride: number
  padding: number
}

type Size = readonly [height: number, width: number]

/** The walk of a forward convolution. */
export const forwardWalk = (grid: Size, kernel: Size, { stride, padding }: Stepping): Walk => ({
  grid,
  step: 1,
  y0: 0,
  x0: 0,
  stride,
  originY: -padding,
  originX: -padding,
  direction: 1,
  tapsY: kernel[0],
  tapsX: kernel[1],
  ky0: 0,
  kx0: 0,
  tapStep: 1,
})

/**
 * The walks that together compute the input gradient of a convolution, for an input of [height, width]. Pixels of one
 * residue class modulo the stride meet the same taps, ky ≡ y + padding (mod stride), so each class is one walk.
 */
export function inputGradientWalks([height, width]: Size, kernel: Size, { stride, padding }: Stepping): Walk[] {
  const walks: Walk[] = []
  for (let y0 = 0; y0 < Math.min(stride, height); y0++)
    for (let x0 = 0; x0 < Math.min(stride, width); x0++) {
      const ky0 = (y0 + padding) % stride
      const kx0 = (x0 + padding) % stride
      walks.push({
        grid: [Math.ceil((height - y0) / stride), Math.ceil((width - x0) / stride)],
        step: stride,
        y0,
        x0,
        stride: 1,
        originY: (y0 + padding - ky0) / stride,
        originX: (x0 + padding - kx0) / stride,
        direction: -1,
        tapsY: Math.max(0, Math.ceil((kernel[0] - ky0) / stride)),
        tapsX: Math.max(0, Math.ceil((kernel[1] - kx0) / stride)),
        ky0,
        kx0,
        tapStep: stride,
      })
    }
  return walks
}

/** Whether this is the walk of a 3×3 kernel of stride 1, forward or backward. */
export const isPlain3x3 = (kernel: Size, walk: Walk): boolean =>
  kernel[0] === 3 &&
  kernel[1] === 3 &&
  walk.tapsY === 3 &&
  walk.tapsX === 3 &&
  walk.stride === 1 &&
  walk.step === 1 &&
  walk.tapStep === 1

/**
 * A plain 3×3 walk as a forward one: its origin, and whether the taps are reversed. Walking backward from an origin is
 * walking forward from two pixels before it, with the taps reversed.
 */
export function plainOrigin({ direction, originY, originX }: Walk): { origin: Size; reversed: boolean } {
  const reversed = direction < 0
  const shift = reversed ? 2 : 0
  return { origin: [originY - shift, originX - shift], reversed }
}

/** Params that every convolution kernel has. Shapes are [N, H, W, C], with channels in multiples of 4. */
export const shapeParams = (images: number, inShape: readonly number[], outShape: readonly number[]) => ({
  images,
  in_height: inShape[1],
  in_width: inShape[2],
  in_channels4: inShape[3] / 4,
  out_height: outShape[1],
  out_width: outShape[2],
  out_channels4: outShape[3] / 4,
})

/** Params of the kernels that walk. */
export const walkParams = (walk: Walk) => ({
  grid_height: walk.grid[0],
  grid_width: walk.grid[1],
  step: walk.step,
  y0: walk.y0,
  x0: walk.x0,
  stride: walk.stride,
  origin_y: walk.originY,
  origin_x: walk.originX,
  direction: walk.direction,
  taps_y: walk.tapsY,
  taps_x: walk.tapsX,
  ky0: walk.ky0,
  kx0: walk.kx0,
  tap_step: walk.tapStep,
})

/** Params of the weight-gradient kernels, beside the shapes. */
export const weightGradientParams = (kernel: Size, { stride, padding }: Stepping) => ({
  stride,
  padding,
  kernel_height: kernel[0],
  kernel_width: kernel[1],
})
