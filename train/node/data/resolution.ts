/** The size at which pictures are kept for training. */
import { pictureResizes, type PictureResize } from '../../data/resample.js'

/** Pixels; 1.25 times the size of a view of 128 pixels. */
export const DEFAULT_RESOLUTION = 160
const LARGEST_RESOLUTION = 4096

/** @throws one line if an option is out of range */
export function checkResolution(resolution: number, resize: PictureResize): void {
  if (!Number.isInteger(resolution) || resolution < 1 || resolution > LARGEST_RESOLUTION)
    throw new Error(`\`resolution\` ${resolution}: must be a whole number of pixels from 1 to ${LARGEST_RESOLUTION}`)
  if (!pictureResizes.includes(resize))
    throw new Error(`\`resize\` '${String(resize)}': choose one of ${pictureResizes.join(', ')}`)
}
