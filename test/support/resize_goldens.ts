/** Pictures as torchvision resizes them; see fixtures/make_resize_goldens.py. */
import { readFileSync } from 'node:fs'
import type { Picture, ResizeFilter } from '../../train/data/resample.js'

interface Golden {
  height: number
  width: number
  side: number
  filter: ResizeFilter
  /** [side, side, 3] bytes */
  result: number[]
}

export const resizeGoldens = JSON.parse(
  readFileSync(new URL('../fixtures/resize.json', import.meta.url), 'utf8'),
) as Golden[]

/** The picture of a golden. */
export const hashedPicture = ({ height, width }: Pick<Golden, 'height' | 'width'>): Picture => ({
  height,
  width,
  pixels: Uint8Array.from({ length: height * width * 3 }, (_, i) => Math.imul(i + 1, 2654435761) >>> 24),
})
