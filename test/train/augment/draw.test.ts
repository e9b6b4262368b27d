import { mat3, vec3 } from 'gl-matrix'
import { describe, expect, it } from 'vitest'
import {
  cleanViews,
  drawCrop,
  drawView,
  drawViews,
  ROW_FLOATS,
  type ViewParameters,
  writeRow,
} from '../../../train/augment/draw.js'
import { Purpose, RandomStream } from '../../../engine/random.js'
import { augmentationRecipe, blurReach, cropGroups, recipes } from '../../../train/augment/recipe.js'
import { kolmogorovSmirnov, standardErrors } from './statistics.js'

const COUNT = 20_000
const large = { sourceHeight: 4000, sourceWidth: 4000 }
const cifar = { sourceHeight: 32, sourceWidth: 32 }

const drawMany = (recipe = recipes.imagenet100 as Parameters<typeof drawView>[1], source = cifar) =>
  Array.from({ length: COUNT }, (_, i) =>
    drawView(new RandomStream(5, Purpose.views, 0, i >> 1, i & 1), recipe, i >> 1, source),
  )

/** The row's padded matrix from float `at` on. */
const matrixAt = (row: Float32Array, at: number) =>
  mat3.fromValues(...([0, 1, 2, 4, 5, 6, 8, 9, 10].map((i) => row[at + i]) as Parameters<typeof mat3.fromValues>))

describe('recipes', () => {
  it.each(Object.entries(recipes))('%s is valid', (_, recipe) => {
    expect(augmentationRecipe.parse(recipe)).toEqual(recipe)
  })

  it.each([
    [{ size: 0 }],
    [{ scale: [0.5, 0.1] }],
    [{ scale: [0, 1] }],
    [{ flip: 1.5 }],
    [{ std: [0, 1, 1] }],
    [{ blur: 1 }],
    [{ blur: { ...recipes.cifar.blur, probability: [0.5, 1.1] } }],
    [{ solarize: [] }],
    [{ crops: [{ views: 0, size: 8, scale: [0.1, 1] }] }],
    [{ jitter: { ...recipes.cifar.jitter, hueMode: 'hsl' } }],
    [{ contrast: 1 }],
  ])('refuses %j', (change) => {
    expect(augmentationRecipe.safeParse({ ...recipes.cifar, ...change }).success).toBe(false)
  })
})

describe("the blur's window", () => {
  const { blur } = recipes['vicreg-original']
  it.each([
    [224, 23],
    [128, 13],
    [96, 9],
    [64, 7],
    [32, 3],
    [8, 3],
    [1, 1],
  ])('of a view of %i px is %i px', (size, window) => {
    expect(2 * blurReach({ blur, size }) + 1).toBe(window)
  })
})

describe('random resized crop', () => {
  // Area times ratio and area over ratio stay below one, so that the first try always fits and the
  // distributions are the untruncated ones.
  const free = { scale: [0.1, 0.7] as [number, number], ratio: [3 / 4, 4 / 3] as [number, number] }
  const boxes = Array.from({ length: COUNT }, (_, i) => drawCrop(new RandomStream(9, Purpose.views, 0, i), free, large))

  it('draws the area uniformly and the ratio log-uniformly', () => {
    const areas = boxes.map((box) => (box.width * box.height) / 16e6)
    expect(kolmogorovSmirnov(areas, (x) => Math.min(1, Math.max(0, (x - 0.1) / 0.6)))).toBeLessThan(1.63)
    const bound = Math.log(4 / 3)
    const ratios = boxes.map((box) => Math.log(box.width / box.height))
    const cdf = (x: number) => Math.min(1, Math.max(0, (x + bound) / (2 * bound)))
    expect(kolmogorovSmirnov(ratios, cdf)).toBeLessThan(1.63)
  })

  it('draws the position uniformly', () => {
    const tops = boxes.map((box) => box.top / (4000 - box.height))
    const lefts = boxes.map((box) => box.left / (4000 - box.width))
    expect(kolmogorovSmirnov(tops, (x) => x)).toBeLessThan(1.63)
    expect(kolmogorovSmirnov(lefts, (x) => x)).toBeLessThan(1.63)
  })

  it('stays inside the image and reaches both ends', () => {
    const crops = drawMany(recipes.cifar).map((view) => view.box)
    for (const { top, left, height, width } of crops) {
      expect(Math.min(top, left, height - 1, width - 1)).toBeGreaterThanOrEqual(0)
      expect(Math.max(top + height, left + width)).toBeLessThanOrEqual(32)
    }
    expect(crops.some((box) => box.left === 0 && box.width < 32)).toBe(true)
    expect(crops.some((box) => box.left + box.width === 32 && box.width < 32)).toBe(true)
    expect(crops.some((box) => box.width === 32 && box.height === 32)).toBe(true)
  })

  it.each([
    ['wide', { sourceHeight: 4, sourceWidth: 100 }, { top: 0, left: 47, height: 4, width: 5 }],
    ['tall', { sourceHeight: 100, sourceWidth: 6 }, { top: 46, left: 0, height: 8, width: 6 }],
    ['square', { sourceHeight: 10, sourceWidth: 10 }, { top: 0, left: 0, height: 10, width: 10 }],
    ['half to even', { sourceHeight: 100, sourceWidth: 2 }, { top: 49, left: 0, height: 2, width: 2 }],
  ])('falls back to the central crop: %s', (name, source, box) => {
    // An area beyond the image's never fits, so all ten tries fail. 2 / 0.8 = 2.5 rounds to 2.
    const ratio: [number, number] = name === 'half to even' ? [0.8, 1.25] : [3 / 4, 4 / 3]
    const crop = drawCrop(new RandomStream(1, Purpose.views), { scale: [4, 4], ratio }, source)
    expect(crop).toEqual(box)
  })
})

describe('drawView', () => {
  const views = drawMany()
  const jittered = views.filter((view) => view.brightness !== 1)

  it('flips, jitters, greys and solarises at the given rates', () => {
    const rate = (test: (view: ViewParameters) => boolean) => views.filter(test).length
    expect(
      standardErrors(
        rate((v) => v.flip),
        COUNT,
        0.5,
      ),
    ).toBeLessThan(3)
    expect(standardErrors(jittered.length, COUNT, 0.8)).toBeLessThan(3)
    expect(
      standardErrors(
        rate((v) => v.greyscale),
        COUNT,
        0.2,
      ),
    ).toBeLessThan(3)
    expect(
      standardErrors(
        rate((v) => v.solarize),
        COUNT,
        0.2,
      ),
    ).toBeLessThan(3)
  })

  it('draws them independently', () => {
    const both = (a: (v: ViewParameters) => boolean, b: (v: ViewParameters) => boolean) =>
      views.filter((v) => a(v) && b(v)).length
    expect(
      standardErrors(
        both(
          (v) => v.flip,
          (v) => v.greyscale,
        ),
        COUNT,
        0.1,
      ),
    ).toBeLessThan(3)
    expect(
      standardErrors(
        both(
          (v) => v.solarize,
          (v) => v.greyscale,
        ),
        COUNT,
        0.04,
      ),
    ).toBeLessThan(3)
    const pairs = views.filter((v, i) => i % 2 === 1 && v.flip === views[i - 1].flip).length
    expect(standardErrors(pairs, COUNT / 2, 0.5)).toBeLessThan(3)
  })

  it('draws each factor uniformly, and all of them or none', () => {
    const factor = (x: number) => Math.min(1, Math.max(0, (x - 0.6) / 0.8))
    for (const name of ['brightness', 'contrast', 'saturation'] as const) {
      expect(
        kolmogorovSmirnov(
          jittered.map((v) => v[name]),
          factor,
        ),
      ).toBeLessThan(1.63)
    }
    const turn = (x: number) => x / (0.4 * Math.PI) + 0.5
    expect(
      kolmogorovSmirnov(
        jittered.map((v) => v.hue),
        turn,
      ),
    ).toBeLessThan(1.63)
    for (const view of views.filter((v) => v.brightness === 1)) {
      expect([view.contrast, view.saturation, view.hue]).toEqual([1, 1, 0])
    }
  })

  it('leaves the other draws alone when a probability changes', () => {
    const stream = () => new RandomStream(2, Purpose.views, 3, 4, 5)
    const before = drawView(stream(), recipes.cifar, 0, cifar)
    const always = { ...recipes.cifar, flip: 1, greyscale: 1, solarize: 1 }
    const after = drawView(stream(), always, 0, cifar)
    expect(after).toEqual({ ...before, flip: true, greyscale: true, solarize: true })
    const blurred = drawView(stream(), { ...recipes.cifar, blur: { ...recipes.cifar.blur, probability: 1 } }, 0, cifar)
    expect(blurred).toEqual({ ...before, blur: blurred.blur })
    expect(blurred.blur).toBeGreaterThan(0)
  })

  it("turns HSV's hue instead of rotating, by the same turn", () => {
    const stream = () => new RandomStream(2, Purpose.views, 3, 4, 5)
    const turned = { ...recipes.imagenet100, jitter: { ...recipes.imagenet100.jitter, probability: 1 } }
    const rotation = drawView(stream(), turned, 0, cifar)
    const hsv = drawView(stream(), { ...turned, jitter: { ...turned.jitter, hueMode: 'hsv' } }, 0, cifar)
    expect(rotation).toMatchObject({ hsvHue: 0 })
    expect(hsv).toEqual({ ...rotation, hue: 0, hsvHue: hsv.hsvHue })
    expect(2 * Math.PI * hsv.hsvHue).toBe(rotation.hue)
    expect(Math.abs(hsv.hsvHue)).toBeGreaterThan(0)
  })

  it('blurs and solarises by view where the recipe says so, with sigma uniform in its range', () => {
    const recipe = recipes['barlow-twins-original']
    const byView = [0, 1, 2, 3].map((view) =>
      Array.from({ length: 4000 }, (_, image) =>
        drawView(new RandomStream(7, Purpose.views, 0, image, view), recipe, image, cifar, view),
      ),
    )
    byView.forEach((drawn, view) => {
      const [blurred, solarized] = [drawn.filter((v) => v.blur > 0).length, drawn.filter((v) => v.solarize).length]
      if (view % 2 === 0) expect([blurred, solarized]).toEqual([4000, 0])
      else {
        expect(standardErrors(blurred, 4000, 0.1)).toBeLessThan(3)
        expect(standardErrors(solarized, 4000, 0.2)).toBeLessThan(3)
      }
    })
    const sigmas = byView[0].map((v) => v.blur)
    expect(kolmogorovSmirnov(sigmas, (x) => Math.min(1, Math.max(0, (x - 0.1) / 1.9)))).toBeLessThan(1.63)
  })
})

describe('rows', () => {
  const plain: ViewParameters = {
    image: 3,
    box: { top: 2, left: 5, height: 7, width: 11 },
    flip: false,
    brightness: 1.25,
    contrast: 0.75,
    saturation: 0.5,
    hue: 0,
    hsvHue: 0,
    greyscale: false,
    blur: 0,
    solarize: false,
  }
  const rowOf = (change: Partial<ViewParameters>) => {
    const row = new Float32Array(ROW_FLOATS)
    writeRow({ ...plain, ...change }, 32, row)
    return row
  }
  const corner = (row: Float32Array, x: number, y: number) =>
    [...vec3.transformMat3(vec3.create(), [x, y, 1], matrixAt(row, 8))].slice(0, 2)

  it('hold the factors and flags', () => {
    expect([...rowOf({}).subarray(0, 8)]).toEqual([3, 1.25, 0.75, 0.5, 0, 2, 0, 0])
    expect([...rowOf({ greyscale: true, solarize: true }).subarray(4, 6)]).toEqual([1, 0.5])
    // Half way below the threshold's byte.
    expect(rowOf({ solarize: true, solarizeThreshold: 100 })[5]).toBe(Math.fround(99.5 / 255))
    expect(rowOf({ solarize: false, solarizeThreshold: 100 })[5]).toBe(2)
    expect([...rowOf({ blur: 0.75, hsvHue: -0.25 }).subarray(5, 8)]).toEqual([2, 0.75, -0.25])
  })

  it('map the corners of the view to those of the crop', () => {
    expect(corner(rowOf({}), 0, 0)).toEqual([5, 2])
    expect(corner(rowOf({}), 32, 32)).toEqual([16, 9])
    expect(corner(rowOf({ flip: true }), 0, 0)).toEqual([16, 2])
    expect(corner(rowOf({ flip: true }), 32, 32)).toEqual([5, 9])
  })

  it('rotate the hue about the grey axis', () => {
    expect([...matrixAt(rowOf({}), 20)]).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1])
    const third = matrixAt(rowOf({ hue: (2 * Math.PI) / 3 }), 20)
    const green = vec3.transformMat3(vec3.create(), [1, 0, 0], third)
    for (const channel of [0, 1, 2]) expect(green[channel]).toBeCloseTo(channel === 1 ? 1 : 0, 6)
    const grey = vec3.transformMat3(vec3.create(), [0.4, 0.4, 0.4], matrixAt(rowOf({ hue: 0.3 }), 20))
    for (const value of grey) expect(value).toBeCloseTo(0.4, 6)
  })

  it('are view-major and do not depend on the batch', () => {
    const options = { seed: 1, epoch: 2, ...cifar }
    const batch = drawViews(recipes.cifar, { ...options, images: [10, 20, 30], views: 4 })
    expect(batch.length).toBe(12 * ROW_FLOATS)
    const at = (view: number, b: number) => batch.slice((view * 3 + b) * ROW_FLOATS, (view * 3 + b + 1) * ROW_FLOATS)
    expect([0, 1, 2].map((b) => at(3, b)[0])).toEqual([10, 20, 30])
    const alone = drawViews(recipes.cifar, { ...options, images: [20], views: 1, firstView: 3 })
    expect(alone).toEqual(at(3, 1))
    const seen = Array.from({ length: 12 }, (_, i) => at(Math.floor(i / 3), i % 3).join())
    expect(new Set(seen).size).toBe(12)
    const later = drawViews(recipes.cifar, { ...options, epoch: 3, images: [20], views: 1, firstView: 3 })
    expect(later).not.toEqual(alone)
  })

  it('go into the given array, whose length must fit', () => {
    const options = { seed: 1, epoch: 0, images: [1, 2], views: 2, ...cifar }
    const out = new Float32Array(4 * ROW_FLOATS)
    expect(drawViews(recipes.cifar, options, out)).toBe(out)
    expect(out).toEqual(drawViews(recipes.cifar, options))
    expect(() => drawViews(recipes.cifar, options, new Float32Array(5))).toThrow(/4 views need 128 floats/)
    expect(() => cleanViews(recipes.cifar, [2 ** 24], cifar)).toThrow(/image 16777216/)
  })

  it('of several sizes take the size and the scale of their view', () => {
    const crops = [
      { views: 1, size: 32, scale: [1, 1] as [number, number] },
      { views: 2, size: 8, scale: [0.1, 0.2] as [number, number] },
    ]
    const recipe = { ...recipes.cifar, ratio: [1, 1] as [number, number], flip: 0, crops }
    const options = { seed: 1, epoch: 0, images: [1, 2], ...cifar }
    const rows = drawViews(recipe, { ...options, views: 3 })
    const scales = Array.from({ length: 6 }, (_, i) => matrixAt(rows.slice(i * ROW_FLOATS), 8)[0])
    expect(scales.slice(0, 2)).toEqual([1, 1])
    for (const scale of scales.slice(2)) {
      expect(scale * 8).toBeGreaterThanOrEqual(Math.sqrt(0.1) * 32 - 0.5)
      expect(scale * 8).toBeLessThanOrEqual(Math.sqrt(0.2) * 32 + 0.5)
    }
    const last = drawViews(recipe, { ...options, views: 1, firstView: 2 })
    expect(last).toEqual(rows.slice(4 * ROW_FLOATS))
    expect(() => drawViews(recipe, { ...options, views: 4 })).toThrow(
      /crops: an image has 3 views, but view 4 is requested/,
    )
    expect(() => cropGroups(recipe, 4)).toThrow(/1 \+ 2 views are not the 4/)
    expect(cropGroups(recipes.cifar, 4)).toEqual([{ firstView: 0, views: 4, size: 32, scale: [0.08, 1] }])
  })

  it('of clean views map the whole image and change no colour', () => {
    const row = cleanViews(recipes.cifar, [7, 8], { sourceHeight: 40, sourceWidth: 24 }).slice(ROW_FLOATS)
    expect([...row.subarray(0, 8)]).toEqual([8, 1, 1, 1, 0, 2, 0, 0])
    expect(corner(row, 0, 0)).toEqual([0, 0])
    expect(corner(row, 32, 32)).toEqual([24, 40])
    expect([...matrixAt(row, 20)]).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1])
  })
})
