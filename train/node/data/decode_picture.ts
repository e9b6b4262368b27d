/** Decodes a picture file to a square of RGB bytes, or to a whole picture in a corner of one. */
import sharp, { type Sharp } from 'sharp'
import { centralSquare, resize, type PictureResize } from '../../data/resample.js'

/** A packed picture. */
export interface Decoded {
  /** [resolution, resolution, 3] bytes */
  pixels: Uint8Array
  /** Of the picture in the upper left corner of its pixels; the rest is black. */
  height: number
  width: number
}

/**
 * Decodes a picture: rotates it by its EXIF data, resizes the shorter side to `resolution`, keeps the centre, converts
 * it to sRGB and drops its transparency. A truncated picture is an error; warnings are not.
 *
 * 'bilinear' gives the pixels of torchvision's `Resize` and `CenterCrop`. 'lanczos' shrinks with libvips, which is
 * faster and rounds sides and margins in its own way. 'whole' keeps all of the picture; libvips shrinks it (by Lanczos) so
 * that its longer side is at most `resolution`.
 *
 * @param file path or bytes of the picture's file
 */
export async function decodePicture(
  file: string | Uint8Array,
  resolution: number,
  how: PictureResize,
): Promise<Decoded> {
  const picture = sharp(file, { failOn: 'error' }).autoOrient()
  if (how === 'whole') return wholePicture(picture, resolution)
  const square = { height: resolution, width: resolution }
  if (how === 'lanczos' && !(await isEnlarged(picture, resolution)))
    return { pixels: await toBytes(picture.resize(resolution, resolution, { fit: 'cover' })).toBuffer(), ...square }
  const { data, info } = await toBytes(picture).toBuffer({ resolveWithObject: true })
  const decoded = { pixels: data, height: info.height, width: info.width }
  const { size, crop } = centralSquare(decoded, resolution)
  return { pixels: resize(decoded, size, crop, how), ...square }
}

async function wholePicture(picture: Sharp, resolution: number): Promise<Decoded> {
  const shrunk = picture.resize(resolution, resolution, { fit: 'inside', withoutEnlargement: true })
  const { data, info } = await toBytes(shrunk).toBuffer({ resolveWithObject: true })
  const pixels = new Uint8Array(3 * resolution ** 2)
  const [line, stride] = [3 * info.width, 3 * resolution]
  for (let y = 0; y < info.height; y++) pixels.set(data.subarray(y * line, (y + 1) * line), y * stride)
  return { pixels, height: info.height, width: info.width }
}

/** Whether the shorter side is below `resolution`. libvips shifts such a picture by half an output pixel. */
async function isEnlarged(picture: Sharp, resolution: number): Promise<boolean> {
  const { width, height } = await picture.metadata()
  return Math.min(width, height) < resolution
}

const toBytes = (picture: Sharp): Sharp => picture.toColourspace('srgb').removeAlpha().raw({ depth: 'uchar' })
