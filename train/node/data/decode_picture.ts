/** Decodes a picture file to a square of RGB bytes. */
import sharp, { type Sharp } from 'sharp'
import { centralSquare, resize, type ResizeFilter } from '../../data/resample.js'

/**
 * Decodes a picture: rotates it by its EXIF data, resizes the shorter side to `resolution`, keeps the centre, converts
 * it to sRGB and drops its transparency. A truncated picture is an error; warnings are not.
 *
 * 'bilinear' gives the pixels of torchvision's `Resize` and `CenterCrop`. 'lanczos' shrinks with libvips, which is
 * faster and rounds sides and margins in its own way.
 *
 * @returns [resolution, resolution, 3] bytes
 */
export async function decodePicture(file: string, resolution: number, filter: ResizeFilter): Promise<Uint8Array> {
  const picture = sharp(file, { failOn: 'error' }).autoOrient()
  if (filter === 'lanczos' && !(await isEnlarged(picture, resolution)))
    return toBytes(picture.resize(resolution, resolution, { fit: 'cover' })).toBuffer()
  const { data, info } = await toBytes(picture).toBuffer({ resolveWithObject: true })
  const decoded = { pixels: data, height: info.height, width: info.width }
  const { size, crop } = centralSquare(decoded, resolution)
  return resize(decoded, size, crop, filter)
}

/** Whether the shorter side is below `resolution`. libvips shifts such a picture by half an output pixel. */
async function isEnlarged(picture: Sharp, resolution: number): Promise<boolean> {
  const { width, height } = await picture.metadata()
  return Math.min(width, height) < resolution
}

const toBytes = (picture: Sharp): Sharp => picture.toColourspace('srgb').removeAlpha().raw({ depth: 'uchar' })
