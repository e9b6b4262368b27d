import { describe, expect, it } from 'vitest'
import { input } from '../../../engine/index.js'
import {
  cleanViews,
  drawView,
  drawViews,
  ROW_FLOATS,
  type ViewParameters,
  writeRow,
} from '../../../train/augment/draw.js'
import { Purpose, RandomStream } from '../../../engine/random.js'
import { blurReach, recipes, type AugmentationRecipe } from '../../../train/augment/recipe.js'
import {
  augmentCrops,
  augmentViews,
  deviceImages,
  type PackedImages,
  type ViewFormat,
} from '../../../train/augment/views.js'
import { engine } from '../../support/engine.js'
import { readJson } from '../../support/goldens.js'
import { referenceView } from '../../support/reference_augment.js'

const COUNT = 5
const HEIGHT = 13
const WIDTH = 11
const IMAGE_BYTES = HEIGHT * WIDTH * 3
type Format = Omit<ViewFormat, 'size'>
const identity: Format = { mean: [0, 0, 0], std: [1, 1, 1], blur: recipes.cifar.blur }
/** As the identity, with a window of so many pixels for blurs of a view of this size. */
const blurring = (kernel: number, size: number): Format => ({
  ...identity,
  blur: { probability: 1, sigma: [0.1, 2], window: kernel / size },
})

/** Smooth patterns with noise, so that no step sees flat or extreme values only. 429 bytes an image: any offset modulo 4. */
const noise = new RandomStream(1, Purpose.readout)
const images = Uint8Array.from({ length: COUNT * IMAGE_BYTES }, (_, i) =>
  Math.round(127 + 90 * Math.sin(i / 50 + (i % 3)) + noise.uniform(-37, 37)),
)
const dataset = { count: COUNT, height: HEIGHT, width: WIDTH, images }

const plain: ViewParameters = {
  image: 0,
  box: { top: 0, left: 0, height: HEIGHT, width: WIDTH },
  flip: false,
  brightness: 1,
  contrast: 1,
  saturation: 1,
  hue: 0,
  hsvHue: 0,
  greyscale: false,
  blur: 0,
  solarize: false,
}

/** @param bindingLimit stands in for the adapter's limit, so that images and views come in pieces */
async function run(
  rows: Float32Array,
  size: number,
  normalisation = identity,
  bindingLimit?: number,
  source: PackedImages = dataset,
): Promise<Float32Array> {
  const gpu = await engine()
  const adapterLimit = gpu.target.maxBindingBytes
  const maxBindingBytes = bindingLimit ?? adapterLimit
  Object.assign(gpu.target, { maxBindingBytes })
  const views = input('rows', [rows.length / ROW_FLOATS, ROW_FLOATS])
  const onDevice = deviceImages(source, maxBindingBytes)
  const output = augmentViews(onDevice, views, { ...normalisation, size })
  const program = await gpu.compile({ outputs: { views: output } })
  try {
    await program.run({ rows })
    return await program.read('views')
  } finally {
    Object.assign(gpu.target, { maxBindingBytes: adapterLimit })
    program.destroy()
    for (const { words } of onDevice.shards) gpu.release(words)
  }
}

const rowsOf = (views: ViewParameters[], size: number) => {
  const rows = new Float32Array(views.length * ROW_FLOATS)
  views.forEach((view, i) => writeRow(view, size, rows, i * ROW_FLOATS))
  return rows
}

function expectReference(
  actual: Float32Array,
  views: ViewParameters[],
  size: number,
  { mean, std, blur, interpolation, jitter } = identity,
  tolerance = 5e-6,
) {
  expect(actual.length).toBe(views.length * size * size * 4)
  views.forEach((view, i) => {
    const image = images.subarray(view.image * IMAGE_BYTES, (view.image + 1) * IMAGE_BYTES)
    const how = { area: interpolation === 'area', firstGrey: jitter?.grey === 'first' }
    const expected = referenceView(image, WIDTH, view, size, mean, std, 2 * blurReach({ size, blur }) + 1, how)
    const offset = i * expected.length
    const worst = expected.reduce((most, value, k) => Math.max(most, Math.abs(value - actual[offset + k])), 0)
    expect(worst, `view ${i} of size ${size}: ${JSON.stringify(view)}`).toBeLessThan(tolerance)
  })
}

describe('crop and flip', () => {
  const boxes = [
    { top: 0, left: 0, height: HEIGHT, width: WIDTH },
    { top: 3, left: 2, height: 7, width: 7 },
    { top: 12, left: 10, height: 1, width: 1 },
    { top: 1, left: 0, height: 2, width: 11 },
    { top: 0, left: 8, height: 13, width: 3 },
    { top: 5, left: 4, height: 8, width: 6 },
  ]
  // 1 and 5 shrink, 7 is mixed, 11 and 13 meet the image's own sides, 17 and 32 enlarge.
  it.each([1, 5, 7, 11, 13, 17, 32])('to %i px is the reference', async (size) => {
    const views = boxes.flatMap((box, i) => [
      { ...plain, image: i % COUNT, box },
      { ...plain, image: (i + 1) % COUNT, box, flip: true },
    ])
    expectReference(await run(rowsOf(views, size), size), views, size)
  })

  it("at the image's own size gives its bytes back exactly", async () => {
    const box = { top: 2, left: 0, height: 11, width: 11 }
    const actual = await run(rowsOf([{ ...plain, image: 3, box }], 11), 11)
    const start = 3 * IMAGE_BYTES + 2 * WIDTH * 3
    const expected = Array.from({ length: 11 * 11 * 4 }, (_, i) =>
      i % 4 === 3 ? 0 : Math.fround(images[start + Math.floor(i / 4) * 3 + (i % 4)] / 255),
    )
    expect(Math.max(...expected.map((value, i) => Math.abs(value - actual[i])))).toBeLessThan(1e-7)
  })
})

describe('OpenCV and FFCV-SSL', () => {
  interface Case extends Partial<ViewParameters> {
    size: number
    result: number[]
  }
  const goldens = readJson<{ height: number; width: number; image: number[]; area: Case[]; jitter: Case[] }>(
    'research_code.json',
  )
  const { height, width } = goldens
  const source = { count: 1, height, width, images: Uint8Array.from(goldens.image) }
  const worst = async ({ size, result, ...view }: Case, format: Format): Promise<number> => {
    const actual = await run(rowsOf([{ ...plain, ...view }], size), size, format, undefined, source)
    const rgb = actual.filter((_, i) => i % 4 < 3)
    expect(rgb).toHaveLength(result.length)
    return Math.max(...rgb.map((value, i) => Math.abs(value - result[i])))
  }

  it('area interpolation is OpenCV’s where it shrinks, enlarges, and does one on each axis', async () => {
    // OpenCV computes in f32 too.
    for (const one of goldens.area) expect(await worst(one, { ...identity, interpolation: 'area' })).toBeLessThan(2e-6)
    const enlarged = goldens.area.find(({ size }) => size === 14)!
    expect(await worst(enlarged, identity)).toBeGreaterThan(0.05)
  })

  it('with the first grey, contrast and saturation are those of FFCV-SSL', async () => {
    for (const one of goldens.jitter)
      expect(await worst(one, { ...identity, jitter: { grey: 'first' } })).toBeLessThan(2e-6)
    expect(await worst(goldens.jitter[0], identity)).toBeGreaterThan(0.05)
  })
})

describe('each colour step', () => {
  const box = { top: 1, left: 1, height: 10, width: 8 }
  const steps: [string, Partial<ViewParameters>][] = [
    ['brightness down', { brightness: 0.6 }],
    ['brightness up, clipped', { brightness: 1.4 }],
    ['contrast down', { contrast: 0.6 }],
    ['contrast up, clipped', { contrast: 1.4 }],
    ['saturation down', { saturation: 0.6 }],
    ['saturation up, clipped', { saturation: 1.4 }],
    ['hue forward', { hue: 0.2 * Math.PI }],
    ['hue back, clipped', { hue: -1.5 }],
    ['greyscale', { greyscale: true }],
    ['hue of HSV', { hsvHue: 0.1 }],
    ['hue of HSV, half a turn', { hsvHue: -0.5 }],
    ['all', { flip: true, brightness: 1.3, contrast: 0.7, saturation: 1.2, hue: 0.3, greyscale: false }],
    ['jitter then grey', { brightness: 0.8, contrast: 1.4, saturation: 0.7, greyscale: true }],
  ]

  it.each(steps)('%s is the reference', async (_, change) => {
    const views = [0, 1].map((image) => ({ ...plain, image, box, ...change }))
    const actual = await run(rowsOf(views, 9), 9)
    expectReference(actual, views, 9)
    const untouched = await run(
      rowsOf(
        [0, 1].map((image) => ({ ...plain, image, box })),
        9,
      ),
      9,
    )
    expect(actual).not.toEqual(untouched)
  })

  it('solarise inverts values from one half on', async () => {
    // Within f32 of one half the reference may fall on the other side; x and 1 - x are as near then.
    const views = [
      { ...plain, image: 2, box, solarize: true },
      { ...plain, image: 4, box, solarize: true, brightness: 1.2, hue: 0.2 },
    ]
    const actual = await run(rowsOf(views, 9), 9)
    expectReference(actual, views, 9)
    expect(Math.max(...actual)).toBeLessThan(0.5)
  })

  it('solarise inverts a value that equals the threshold, with and without a blur in the recipe', async () => {
    const view = { ...plain, image: 2, box: { top: 2, left: 0, height: 11, width: 11 } }
    for (const format of [identity, blurring(3, 11)]) {
      const rows = rowsOf([view], 11)
      const [red] = await run(rows, 11, format)
      rows[5] = red
      expect((await run(rows, 11, format))[0]).toBeCloseTo(1 - red, 6)
    }
  })

  it("normalise uses each channel's mean and deviation and leaves the fourth channel 0", async () => {
    const views = [{ ...plain, image: 1, box }]
    const actual = await run(rowsOf(views, 9), 9, recipes.cifar)
    expectReference(actual, views, 9, recipes.cifar, 5e-6 / 0.2)
    expect(actual.filter((_, i) => i % 4 === 3).every((value) => value === 0)).toBe(true)
  })
})

describe('blur', () => {
  // Windows of 3, 5 and 15 pixels; the last reaches over more than a whole side of the smallest view.
  it.each([
    [9, 3],
    [16, 5],
    [16, 15],
    [2, 3],
    [1, 3],
  ])('of %i px with a window of %i is the reference, and rows without it stay sharp', async (size, kernel) => {
    const format = blurring(kernel, size)
    const blurs = [0.1, 0, 2, 0.8].map((blur, i) => ({ ...plain, image: i, blur, solarize: i > 1 }))
    const actual = await run(rowsOf(blurs, size), size, format)
    if (size > 1) expectReference(actual, blurs, size, format)
    const sharp = await run(rowsOf(blurs, size), size)
    const one = 4 * size * size
    expect(actual.slice(one, 2 * one)).toEqual(sharp.slice(one, 2 * one))
    expect(actual.slice(2 * one).some((value, i) => Math.abs(value - sharp[2 * one + i]) > 0.01)).toBe(size > 1)
  })
})

describe('torchvision and NumPy', () => {
  interface Fixture {
    height: number
    width: number
    image: number[]
    cases: {
      name: string
      size: number
      kernel: number
      mean: [number, number, number]
      std: [number, number, number]
      view: Partial<ViewParameters>
      result: number[]
    }[]
  }
  const { image, cases, ...shape } = readJson<Fixture>('augment.json')

  it.each(cases)('$name', async ({ size, kernel, mean, std, view, result }) => {
    const source = { ...shape, count: 1, images: Uint8Array.from(image) }
    const format = { ...blurring(kernel, size), mean, std }
    const actual = await run(rowsOf([{ ...plain, ...view }], size), size, format, undefined, source)
    const rgb = actual.filter((_, i) => i % 4 < 3)
    expect(rgb.length).toBe(result.length)
    // Stored to five digits behind the point.
    expect(Math.max(...rgb.map((value, i) => Math.abs(value - result[i])))).toBeLessThan(1.5e-5 / Math.min(...std))
  })
})

describe('views of several sizes', () => {
  it('are, size by size, those of one size drawn alone', async () => {
    const gpu = await engine()
    const source = { sourceHeight: HEIGHT, sourceWidth: WIDTH }
    const crops = [
      { views: 2, size: 10, scale: [0.5, 1] as [number, number] },
      { views: 3, size: 5, scale: [0.1, 0.4] as [number, number] },
    ]
    const recipe: AugmentationRecipe = { ...recipes['vicreg-original'], size: 12, crops }
    const drawn = drawViews(recipe, { seed: 4, epoch: 0, images: [3, 1, 4], views: 5, ...source })
    const onDevice = deviceImages(dataset, gpu.target.maxBindingBytes)
    const [large, small] = augmentCrops(onDevice, input('rows', [15, ROW_FLOATS]), recipe, 5)
    expect([large.shape, small.shape]).toEqual([
      [6, 10, 10, 4],
      [9, 5, 5, 4],
    ])
    const program = await gpu.compile({ outputs: { large, small } })
    await program.run({ rows: drawn })
    for (const [name, first, { views, size, scale }] of [
      ['large', 0, crops[0]],
      ['small', 2, crops[1]],
    ] as const) {
      const alone = { ...recipe, crops: undefined, size, scale }
      const options = { seed: 4, epoch: 0, images: [3, 1, 4], views, firstView: first, ...source }
      const rows = drawViews(alone, options)
      expect(rows).toEqual(drawn.slice(first * 3 * ROW_FLOATS, (first + views) * 3 * ROW_FLOATS))
      expect(await program.read(name)).toEqual(await run(rows, size, alone))
    }
    program.destroy()
    for (const { words } of onDevice.shards) gpu.release(words)
  })
})

describe('whole recipes', () => {
  const source = { sourceHeight: HEIGHT, sourceWidth: WIDTH }

  it.each(Object.entries(recipes))('%s, as drawn, is the reference', async (_, { ...recipe }) => {
    const small = { ...recipe, size: 10 }
    const indices = [4, 0, 2]
    const rows = drawViews(small, { seed: 3, epoch: 1, images: indices, views: 5, ...source })
    const views = Array.from({ length: 15 }, (_, i) => {
      const image = indices[i % 3]
      const stream = new RandomStream(3, Purpose.views, 1, image, Math.floor(i / 3))
      return drawView(stream, small, image, source, Math.floor(i / 3))
    })
    expectReference(await run(rows, 10, small), views, 10, small, 5e-6 / 0.2)
  })

  it('clean views are the whole image, resized', async () => {
    const rows = cleanViews({ size: 6 }, [1, 3], source)
    expectReference(
      await run(rows, 6),
      [1, 3].map((image) => ({ ...plain, image })),
      6,
    )
  })
})

describe('images of different sizes', () => {
  const sizes = [HEIGHT, WIDTH, 5, 7, 8, 3, 1, 1, 6, 6]
  const source = { sourceHeight: HEIGHT, sourceWidth: WIDTH, sizes }
  const boxesOf = (rows: Float32Array, size: number) =>
    Array.from({ length: rows.length / ROW_FLOATS }, (_, i) => {
      const [across, down, left, top] = [8, 13, 16, 17].map((at) => rows[i * ROW_FLOATS + at])
      const [from, to] = [left, left + across * size].sort((a, b) => a - b)
      return { image: rows[i * ROW_FLOATS], right: to, left: from, top, bottom: top + down * size }
    })

  it('are cropped within their own size', () => {
    const rows = drawViews(
      { ...recipes.cifar, size: 4 },
      { seed: 2, epoch: 0, images: [0, 1, 2, 3, 4], views: 40, ...source },
    )
    for (const { image, left, right, top, bottom } of boxesOf(rows, 4)) {
      expect(Math.min(left, top)).toBeGreaterThanOrEqual(-1e-4)
      expect(bottom).toBeLessThanOrEqual(sizes[2 * image] + 1e-4)
      expect(right).toBeLessThanOrEqual(sizes[2 * image + 1] + 1e-4)
    }
  })

  it('have the whole picture, or its central square, as their clean view', () => {
    const clean = (centre?: number) =>
      boxesOf(cleanViews({ size: 4, clean: centre === undefined ? undefined : { centre } }, [0, 1, 2, 3], source), 4)
    expect(clean().flatMap(({ right, bottom }) => [bottom, right])).toEqual(sizes.slice(0, 8))
    // floor(.5 · 11) = 5, with margins floor((13 − 5) / 2) and floor((11 − 5) / 2).
    const [large, wide] = clean(0.5)
    expect([large.top, large.left, large.bottom, large.right]).toEqual([4, 3, 9, 8])
    expect([wide.top, wide.left, wide.bottom, wide.right]).toEqual([1, 2, 3, 4])
  })
})

describe('many views', () => {
  const source = { sourceHeight: HEIGHT, sourceWidth: WIDTH }
  const rows = drawViews(
    { ...recipes.imagenet100, size: 4 },
    { seed: 1, epoch: 0, images: [0, 1, 2, 3, 4], views: 50, ...source },
  )

  it('gives the same bits again, and in whatever pieces it is made', async () => {
    const once = await run(rows, 4)
    expect(await run(rows, 4)).toEqual(once)
    const limit = 1024 // two images a shard, four views a dispatch
    expect(deviceImages(dataset, limit).shards.map((s) => [s.firstImage, s.count])).toEqual([
      [0, 2],
      [2, 2],
      [4, 1],
    ])
    expect(await run(rows, 4, identity, limit)).toEqual(once)
  })

  it('blurs in whatever pieces views are made', async () => {
    const recipe = { ...recipes['vicreg-original'], size: 4 }
    const drawn = drawViews(recipe, { seed: 1, epoch: 0, images: [0, 1, 2, 3, 4], views: 6, ...source })
    expect(await run(drawn, 4, recipe, 1024)).toEqual(await run(drawn, 4, recipe))
  })

  it('passes the limit of one dimension of a dispatch', async () => {
    const indices = Uint32Array.from({ length: 70_000 }, (_, i) => i % COUNT)
    const actual = await run(cleanViews({ size: 1 }, indices, source), 1)
    const five = await run(cleanViews({ size: 1 }, [0, 1, 2, 3, 4], source), 1)
    expect(actual.length).toBe(280_000)
    expect(actual.every((value, i) => value === five[i % 20])).toBe(true)
  })
})

describe('errors name what is wrong', () => {
  it('images', () => {
    expect(() => deviceImages({ ...dataset, count: 6 }, 1e6)).toThrow(/2145 bytes are not 6 images of 13×11×3/)
    expect(() => deviceImages(dataset, 100)).toThrow(/over the adapter's binding limit of 100 bytes/)
  })

  it('rows', () => {
    const onDevice = deviceImages(dataset, 1e6)
    const recipe = { size: 4, ...identity }
    expect(() => augmentViews(onDevice, input('rows', [3, 31]), recipe)).toThrow(
      'augmentViews: rows must be [views, 32] f32, not [3, 31] f32',
    )
  })
})
