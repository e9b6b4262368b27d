/** Folders of pictures: layouts, colour spaces, damaged pictures, and the packed file in the cache. */
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import sharp, { type Sharp } from 'sharp'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { MissingSplitError } from '../../../../train/data/registry.js'
import { loadDataset } from '../../../../train/node/data/index.js'
import { readImages, type ImageDataset, type Split } from '../../../../train/data/dataset.js'
import type { PictureResize } from '../../../../train/data/resample.js'
import { subset } from '../../../../train/data/subset.js'
import type { ProgressReporter } from '../../../../train/data/progress.js'
import { hashedPicture, resizeGoldens } from '../../../support/resize_goldens.js'

let folder: string
let cacheDir: string
beforeEach(async () => {
  const temporary = await mkdtemp(join(tmpdir(), 'webgpu-ssl-folder-'))
  folder = join(temporary, 'pictures')
  cacheDir = join(temporary, 'cache')
})
afterEach(() => rm(dirname(folder), { recursive: true }))

type Rgb = [number, number, number]
const red: Rgb = [220, 30, 40]
const blue: Rgb = [10, 60, 200]

const plain = ([r, g, b]: Rgb, width = 12, height = 9) =>
  sharp({ create: { width, height, channels: 3, background: { r, g, b } } })

async function save(path: string, picture: Sharp | Uint8Array | string): Promise<void> {
  const file = join(folder, path)
  await mkdir(dirname(file), { recursive: true })
  if (typeof picture === 'string' || picture instanceof Uint8Array) await writeFile(file, picture)
  else await picture.toFile(file)
}

let packed: number
let warnings: string[]
async function load(split: Split = 'train', resolution = 8, resize?: PictureResize): Promise<ImageDataset> {
  packed = 0
  warnings = []
  const progress: ProgressReporter = {
    begin: () => ({ update: () => packed++, finish: () => undefined }),
  }
  const onWarning = (line: string) => warnings.push(line)
  return loadDataset('folder', split, { dataDir: folder, cacheDir, resolution, resize, progress, onWarning })
}

/** The bytes of one image. */
async function bytesOf(dataset: ImageDataset, index: number): Promise<Uint8Array> {
  const out = new Uint8Array(dataset.height * dataset.width * 3)
  await readImages(dataset, [index], out)
  return out
}

/** The colour of a picture of one colour; fails when it has others. */
async function colourOf(dataset: ImageDataset, index: number): Promise<number[]> {
  const pixels = await bytesOf(dataset, index)
  const colour = [...pixels.subarray(0, 3)]
  for (let i = 0; i < pixels.length; i++) expect(Math.abs(pixels[i] - colour[i % 3])).toBeLessThanOrEqual(2)
  return colour
}

const near = (colour: readonly number[], expected: readonly number[], by: number) =>
  colour.forEach((value, c) => expect(Math.abs(value - expected[c])).toBeLessThanOrEqual(by))

describe('layouts', () => {
  test("ImageNet's: the names of the training folders give the labels, also of test images", async () => {
    await save('train/zebra/b.png', plain(red))
    await save('train/zebra/a.JPEG', plain(blue).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }))
    await save('train/ant/1.webp', plain([0, 255, 0]).webp({ lossless: true }))
    await save('train/bee/1.png', plain([9, 9, 9]))
    await save('train/bee/.hidden.png', 'none')
    await save('train/bee/notes.txt', 'none')
    await save('train/empty/notes.txt', 'none')
    await save('val/zebra/1.png', plain(red))
    await save('val/ant/1.png', plain(blue))
    const train = await load()
    expect(train).toMatchObject({ name: 'pictures', split: 'train', count: 4, height: 8, width: 8, channels: 3 })
    expect(train.classes).toEqual(['ant', 'bee', 'zebra'])
    expect([...train.labels]).toEqual([0, 1, 2, 2])
    near(await colourOf(train, 0), [0, 255, 0], 0)
    near(await colourOf(train, 1), [9, 9, 9], 0)
    near(await colourOf(train, 2), blue, 3)
    near(await colourOf(train, 3), red, 0)
    const validation = await load('test')
    expect(validation.classes).toEqual(train.classes)
    expect([...validation.labels]).toEqual([0, 2])
    const swapped = subset(train, [3, 1])
    expect([...swapped.labels]).toEqual([2, 1])
    expect(await colourOf(swapped, 0)).toEqual(red)

    await save('val/cow/1.png', plain(red))
    await expect(load('test')).rejects.toThrow(`${join(folder, 'val', 'cow')}: the training images have no class cow`)
  })

  test('a flat folder has no labels and no test split', async () => {
    await save('b.png', plain(blue))
    await save('a.png', plain(red))
    const train = await load()
    expect(train).toMatchObject({ count: 2, classes: [] })
    expect(train.labels).toHaveLength(0)
    expect(await colourOf(train, 0)).toEqual(red)
    await expect(load('test')).rejects.toThrow(MissingSplitError)
    await expect(load('test')).rejects.toThrow(`${join(folder, 'val')} is missing; the test split needs it`)
  })

  test('classes without a split are training images; folders may be links', async () => {
    await save('one/a.png', plain(red))
    await mkdir(join(dirname(folder), 'elsewhere'))
    await plain(blue)
      .png()
      .toFile(join(dirname(folder), 'elsewhere', 'b.png'))
    await symlink(join(dirname(folder), 'elsewhere'), join(folder, 'two'))
    const train = await load()
    expect(train.classes).toEqual(['one', 'two'])
    expect(await colourOf(train, 1)).toEqual(blue)
  })

  test('a class has the pictures of all folders inside its own; links to a folder around them are not followed', async () => {
    await save('dog/terrier/young/2.PNG', plain(red).png())
    await save('dog/1.png', plain(blue))
    await save('cat/1.jfif', plain(blue).jpeg())
    await symlink(join(folder, 'dog'), join(folder, 'dog', 'terrier', 'again'))
    const train = await load()
    expect(train.classes).toEqual(['cat', 'dog'])
    expect([...train.labels]).toEqual([0, 1, 1])
    expect(await colourOf(train, 2)).toEqual(red)
  })

  test('pictures of formats that cannot be read are left out, with the remedy', async () => {
    await save('a/1.HEIC', 'none')
    await save('a/2.heic', 'none')
    await save('b/1.bmp', 'none')
    await expect(load()).rejects.toThrow(
      `${folder}: holds no pictures that can be read, but 2 .heic pictures (${join(folder, 'a', '1.HEIC')}, …): this format is not supported; convert to JPEG`,
    )
    await save('b/2.png', plain(red))
    expect((await load()).count).toBe(1)
    expect(warnings).toHaveLength(2)
    expect(warnings[1]).toMatch(/magick mogrify -format jpg '.*\/b\/\*\.bmp'$/)
  })

  test('any other layout gives one line', async () => {
    await expect(load()).rejects.toThrow(`data folder ${folder} does not exist`)
    await expect(loadDataset('folder', 'train', {})).rejects.toThrow('`dataDir` must name the folder of the pictures')
    await save('notes.txt', 'none')
    await expect(load()).rejects.toThrow(`${folder}: holds no pictures (.jpg,`)
    await save('a.png', plain(red))
    await save('cat/b.png', plain(red))
    await expect(load()).rejects.toThrow(`${folder}: holds both pictures (a.png, …) and folders of pictures (cat, …)`)
    await rm(join(folder, 'cat'), { recursive: true })
    for (const resolution of [0, 1.5, 5000])
      await expect(load('train', resolution)).rejects.toThrow(`\`resolution\` ${resolution}: must be a whole number`)
  })
})

describe('decoding', () => {
  test('grey, transparent, CMYK, 16-bit and palette pictures become RGB', async () => {
    const grey = new Uint8Array(12 * 9).fill(77)
    await save(
      'a-grey.png',
      sharp(grey, { raw: { width: 12, height: 9, channels: 1 } })
        .toColourspace('b-w')
        .png(),
    )
    await save('b-rgba.png', plain(red).ensureAlpha(0.5).png())
    await save('c-cmyk.jpg', plain(blue).toColourspace('cmyk').jpeg({ quality: 100, chromaSubsampling: '4:4:4' }))
    await save('d-deep.png', plain(red).toColourspace('rgb16').png())
    await save('e-palette.png', plain(blue).png({ palette: true }))
    expect((await sharp(join(folder, 'a-grey.png')).metadata()).channels).toBe(1)
    expect((await sharp(join(folder, 'b-rgba.png')).metadata()).channels).toBe(4)
    expect((await sharp(join(folder, 'c-cmyk.jpg')).metadata()).space).toBe('cmyk')
    expect((await sharp(join(folder, 'd-deep.png')).metadata()).depth).toBe('ushort')
    const train = await load()
    expect(warnings).toEqual([])
    expect(train.count).toBe(5)
    near(await colourOf(train, 0), [77, 77, 77], 0)
    near(await colourOf(train, 1), red, 2)
    // CMYK and back changes the colour, but it stays blue.
    const [r, g, b] = await colourOf(train, 2)
    expect(b).toBeGreaterThan(120)
    expect(Math.max(r, g)).toBeLessThan(b - 40)
    near(await colourOf(train, 3), red, 1)
    near(await colourOf(train, 4), blue, 1)
  })

  test('the picture is rotated upright, its shorter side is resized and its centre is kept', async () => {
    // The longer side has a red, a blue and a red third.
    const third = await plain(red, 16, 16).png().toBuffer()
    const wide = plain(blue, 48, 16).composite([
      { input: third, left: 0, top: 0 },
      { input: third, left: 32, top: 0 },
    ])
    const png = await wide.png().toBuffer()
    await save('a-wide.png', png)
    await save('b-tall.png', sharp(png).rotate(90))
    await save(
      'c-marked.jpg',
      sharp(png).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).withMetadata({ orientation: 6 }),
    )
    await save(
      'd-left.png',
      plain(red, 32, 16)
        .composite([{ input: third, left: 0, top: 0 }])
        .png(),
    )
    const train = await load()
    for (const index of [0, 1, 2]) {
      const middle = (await bytesOf(train, index)).subarray(3 * (4 * 8 + 4), 3 * (4 * 8 + 5))
      near([...middle], blue, 6)
    }
    expect((await load('train', 5)).height).toBe(5)
  })

  test('whole pictures lie in a corner, with their sizes; larger ones shrink; a second load has the same', async () => {
    await save('a-small.png', plain(red, 6, 4).png())
    await save('b-wide.png', plain(blue, 48, 16).png())
    await save('c-tall.png', plain(blue, 16, 32).png())
    for (let again = 0; again < 2; again++) {
      const train = await load('train', 8, 'whole')
      expect([train.height, train.width]).toEqual([8, 8])
      expect([...train.sizes!]).toEqual([4, 6, 3, 8, 8, 4])
      const small = await bytesOf(train, 0)
      near([...small.subarray(3 * 5, 3 * 6)], red, 0)
      near([...small.subarray(3 * 6, 3 * 7)], [0, 0, 0], 0)
      near([...small.subarray(3 * 8 * 4, 3 * 8 * 4 + 3)], [0, 0, 0], 0)
    }
    expect([...subset(await load('train', 8, 'whole'), [2, 0]).sizes!]).toEqual([8, 4, 4, 6])
    expect((await load('train', 8)).sizes).toBeUndefined()
  })

  test('bilinear, and lanczos where a picture is enlarged, give the pixels of torchvision', async () => {
    const nameOf = ({ height, width }: { height: number; width: number }) => `${height}x${width}.png`
    for (const golden of resizeGoldens) {
      const { height, width, pixels } = hashedPicture(golden)
      await save(nameOf(golden), sharp(pixels, { raw: { height, width, channels: 3 } }))
    }
    const names = [...new Set(resizeGoldens.map(nameOf))].sort()
    for (const golden of resizeGoldens) {
      const { height, width, side, filter, result } = golden
      const images = await load('train', side, filter)
      const packedBytes = await bytesOf(images, names.indexOf(nameOf(golden)))
      if (filter === 'bilinear' || Math.min(height, width) < side) expect([...packedBytes]).toEqual(result)
      // libvips shrinks; it rounds other sides and margins.
      else
        expect(Buffer.from(packedBytes)).toEqual(
          await sharp(join(folder, nameOf(golden)))
            .resize(side, side)
            .raw()
            .toBuffer(),
        )
    }
    expect(warnings).toEqual([])
    // Each filter has its own packed folder.
    await load('train', 16, 'lanczos')
    expect(packed).toBe(0)
  })

  test('an enlarged picture may be grey, transparent, CMYK, 16-bit, rotated or very long, with both filters', async () => {
    await save(
      'a-grey.png',
      sharp(new Uint8Array(12 * 9).fill(77), { raw: { width: 12, height: 9, channels: 1 } })
        .toColourspace('b-w')
        .png(),
    )
    await save('b-rgba.png', plain(red).ensureAlpha(0.5).png())
    await save('c-cmyk.jpg', plain(blue).toColourspace('cmyk').jpeg({ quality: 100, chromaSubsampling: '4:4:4' }))
    await save('d-deep.png', plain(red).toColourspace('rgb16').png())
    await save('e-long.png', plain(blue, 2, 3000))
    // The left half becomes the upper half.
    const left = await plain(red, 8, 8).png().toBuffer()
    const halves = plain(blue, 16, 8).composite([{ input: left, left: 0, top: 0 }])
    await save(
      'f-marked.jpg',
      halves.jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).withMetadata({ orientation: 6 }),
    )
    for (const filter of ['lanczos', 'bilinear'] as const) {
      const train = await load('train', 24, filter)
      expect(warnings).toEqual([])
      near(await colourOf(train, 0), [77, 77, 77], 0)
      near(await colourOf(train, 1), red, 2)
      expect((await colourOf(train, 2))[2]).toBeGreaterThan(120)
      near(await colourOf(train, 3), red, 1)
      near(await colourOf(train, 4), blue, 0)
      const marked = await bytesOf(train, 5)
      near([...marked.subarray(0, 3)], red, 6)
      near([...marked.subarray(-3)], blue, 6)
    }
    await expect(load('train', 24, 'cubic' as PictureResize)).rejects.toThrow(
      "`resize` 'cubic': choose one of bilinear, lanczos, whole",
    )
  })

  test('damaged pictures are listed and skipped together with their labels', async () => {
    const noise = new Uint8Array(64 * 64 * 3).map((_, i) => (i * i * 31) % 251)
    const jpeg = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
      .jpeg()
      .toBuffer()
    await save('train/a/1.jpg', jpeg.subarray(0, jpeg.length / 2))
    await save('train/a/2.png', plain(red))
    await save('train/b/1.jpg', 'not a picture')
    await save('train/b/2.png', plain(blue))
    await save('train/b/3.png', '')
    await symlink(join(folder, 'nowhere'), join(folder, 'train', 'b', '4.png'))
    const train = await load()
    expect(train.count).toBe(2)
    expect([...train.labels]).toEqual([0, 1])
    expect(await colourOf(train, 0)).toEqual(red)
    expect(await colourOf(train, 1)).toEqual(blue)
    const inTrain = (path: string) => join(folder, 'train', path)
    expect(warnings.map((line) => line.split(': ')[0])).toEqual(
      ['a/1.jpg', 'b/1.jpg', 'b/3.png', 'b/4.png'].map((path) => `skipped ${inTrain(path)}`),
    )
    for (const line of warnings) expect(line).toMatch(/^skipped \S+: \S[^\n]+$/)
    await load()
    expect(packed).toBe(0)
    expect(warnings).toHaveLength(4)
  })

  test('when no picture can be decoded, nothing is kept', async () => {
    await save('a.jpg', 'not a picture')
    await expect(load()).rejects.toThrow(`${folder}: none of its 1 pictures can be decoded; a.jpg: `)
    expect(await readdir(join(cacheDir, 'packed'))).toEqual([])
  })
})

describe('the packed file', () => {
  const files = async () => {
    const [name] = await readdir(join(cacheDir, 'packed'))
    return { images: join(cacheDir, 'packed', name, 'images.bin'), index: join(cacheDir, 'packed', name, 'index.json') }
  }

  test('is made once, and again when a picture is changed or added, or when the file is damaged', async () => {
    await save('a.png', plain(red))
    await save('b.png', plain(blue))
    await load()
    expect(packed).toBe(2)
    await load()
    expect(packed).toBe(0)

    const before = await load()
    await save('a.png', plain([1, 2, 3]))
    await utimes(join(folder, 'a.png'), 1, 1)
    expect(await colourOf(await load(), 0)).toEqual([1, 2, 3])
    expect(packed).toBe(2)
    // A run that has opened the old file continues to read it.
    expect(await colourOf(before, 0)).toEqual(red)

    await save('c.png', plain(red))
    expect((await load()).count).toBe(3)
    expect(packed).toBe(3)

    const { images, index } = await files()
    expect(await readFile(images)).toHaveLength(3 * 192)
    await truncate(images, 500)
    await load()
    expect(packed).toBe(3)
    await writeFile(index, '{"key":')
    await load()
    expect(packed).toBe(3)
    // Each packed file replaced the previous one.
    expect(await readdir(join(cacheDir, 'packed'))).toHaveLength(1)
    await load('train', 4)
    expect(packed).toBe(3)
    expect(await readdir(join(cacheDir, 'packed'))).toHaveLength(2)
  })

  test('many pictures are read in their order, one by one and in ranges', async () => {
    const count = 40
    for (let i = 0; i < count; i++)
      await save(`${String(i).padStart(2, '0')}.png`, plain([i, 2 * i, 255 - i], 4 + (i % 3), 5))
    const train = await load()
    const wanted = [39, 3, 4, 5, 0, 5, 38, 39]
    const out = new Uint8Array(wanted.length * 192)
    await readImages(train, wanted, out)
    expect(wanted.map((_, i) => [...out.subarray(192 * i, 192 * i + 3)])).toEqual(
      wanted.map((i) => [i, 2 * i, 255 - i]),
    )
  })
})

test('two that pack the same pictures at once: the second waits, says so, and uses the result', async () => {
  for (const name of ['a', 'b', 'c']) await save(`${name}.png`, plain(red))
  const tasks: string[] = []
  const said: string[] = []
  const progress: ProgressReporter = {
    begin: (what) => {
      tasks.push(what)
      return { update: () => undefined, finish: () => undefined }
    },
  }
  const onWarning = (line: string) => said.push(line)
  const options = { dataDir: folder, cacheDir, resolution: 8, progress, onWarning }
  const both = await Promise.all([1, 2].map(() => loadDataset('folder', 'train', options)))
  expect(both.map(({ count }) => count)).toEqual([3, 3])
  expect(tasks).toEqual(['packing 8×8'])
  expect(said).toEqual([
    expect.stringMatching(new RegExp(`^waiting for process ${process.pid}, which is using the packed pictures .*`)),
  ])
  // No lock and no temporary folder stays.
  const names = await readdir(join(cacheDir, 'packed'))
  expect(names).toHaveLength(1)
})
