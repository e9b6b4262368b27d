/** Bounds the memory of pictures that are decoded at the same time. */
import sharp from 'sharp'

/** Pixels of all pictures being decoded, about 4 bytes each: 512 MiB. A larger picture is decoded alone. */
const PIXELS = 2 ** 27
/** libvips refuses pictures with more pixels, 16,384². */
export const MOST_PIXELS = 0x3fff * 0x3fff

export class DecodeBudget {
  private used = 0
  private readonly waiting: (() => void)[] = []

  constructor(private readonly pixels = PIXELS) {}

  /** Runs `decode` when the pictures that are being decoded leave room for its pixels; in the order of the calls. */
  async within<T>(pixels: number, decode: () => Promise<T>): Promise<T> {
    const share = Math.min(pixels, this.pixels)
    while (this.used + share > this.pixels) await new Promise<void>((resolve) => this.waiting.push(resolve))
    this.used += share
    try {
      return await decode()
    } finally {
      this.used -= share
      for (const resume of this.waiting.splice(0)) resume()
    }
  }
}

/** The number of pixels of a picture, from its header. @param file its path or its bytes */
export async function pixelsOf(file: string | Uint8Array): Promise<number> {
  const { width, height, pages = 1 } = await sharp(file, { limitInputPixels: MOST_PIXELS }).metadata()
  return width * height * Math.max(1, pages)
}
