import { describe, expect, test } from 'vitest'
import { centralSquare, resize } from '../../../train/data/resample.js'
import { hashedPicture, resizeGoldens } from '../../support/resize_goldens.js'

describe('resize and the central square equal torchvision with Pillow', () => {
  test.each(resizeGoldens)('$height×$width to $side, $filter', ({ height, width, side, filter, result }) => {
    const picture = hashedPicture({ height, width })
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
