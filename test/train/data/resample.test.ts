import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { centralSquare, resize, type Picture, type ResizeFilter } from '../../../train/data/resample.js'

interface Golden {
  height: number
  width: number
  side: number
  filter: ResizeFilter
  result: number[]
}

const goldens = JSON.parse(readFileSync(new URL('../../fixtures/resize.json', import.meta.url), 'utf8')) as Golden[]

/** The picture of make_resize_goldens.py. */
const hashed = (height: number, width: number): Picture => ({
  height,
  width,
  pixels: Uint8Array.from({ length: height * width * 3 }, (_, i) => Math.imul(i + 1, 2654435761) >>> 24),
})

describe('resize and the central square equal torchvision with Pillow', () => {
  test.each(goldens)('$height×$width to $side, $filter', ({ height, width, side, filter, result }) => {
    const picture = hashed(height, width)
    const { size, crop } = centralSquare(picture, side)
    expect([...resize(picture, size, crop, filter)]).toEqual(result)
  })
})

test('an enlarged ramp keeps its centre', () => {
  const pixels = Uint8Array.from({ length: 4 * 4 * 3 }, (_, i) => 60 + 40 * (Math.floor(i / 3) % 4))
  const whole = { top: 0, left: 0, height: 12, width: 12 }
  for (const filter of ['bilinear', 'lanczos'] as const) {
    const row = [...resize({ pixels, height: 4, width: 4 }, { height: 12, width: 12 }, whole, filter)]
      .filter((_, i) => i % 3 === 0)
      .slice(0, 12)
    // A ramp is symmetric about the middle of the row: a shift would break that.
    row.forEach((value, i) => expect(Math.abs(value + row[11 - i] - 240)).toBeLessThanOrEqual(1))
  }
})
