/** A folder of pictures as a data set of a run: pretraining from the command line, and its readout. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import { parse } from 'yaml'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Purpose, RandomStream } from '../../../../engine/index.js'
import { cacheFolder } from '../../../../engine/node/cache_folder.mjs'
import { openRun } from '../../../../train/node/run_folder.js'
import { pictureDefaults } from '../../../../train/cli/picture_defaults.js'
import { imageFolder } from '../../../../train/node/data/image_folder.js'
import { loadModel } from '../../../../train/node/weights.js'
import { resolveConfig } from '../../../../train/config/config.js'
import { fromArrays, inMemory } from '../../../../train/data/dataset.js'
import { loadDataset } from '../../../../train/node/data/index.js'
import { silentProgress } from '../../../../train/data/progress.js'
import { buildNetwork } from '../../../../train/step/network.js'
import { pretrain } from '../../../../train/node/pretrain.js'
import { readout } from '../../../../train/readout/readout.js'
import { extractFeatures } from '../../../../train/readout/features.js'
import { engine, engineOfProcesses } from '../../../support/engine.js'

let folder: string
let pictures: string
const cacheDir = () => join(folder, 'cache')

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-folder-run-'))
  pictures = join(folder, basename(folder))
  const random = new RandomStream(1, Purpose.subset)
  for (const [split, count] of [
    ['train', 8],
    ['val', 3],
  ] as const)
    for (const [label, name] of ['cat', 'dog', 'fox'].entries()) {
      await mkdir(join(pictures, split, name), { recursive: true })
      for (let i = 0; i < count; i++) {
        const pixels = new Uint8Array(14 * 16 * 3).map((_, k) => (k % 3 === label ? 120 : 20) + random.integer(100))
        const picture = sharp(pixels, { raw: { width: 16, height: 14, channels: 3 } })
        await picture.png().toFile(join(pictures, split, name, `${i}.png`))
      }
    }
})
afterAll(async () => {
  await rm(folder, { recursive: true })
  // The command packed pictures into the cache of the user who runs the test.
  const packed = join(cacheFolder(), 'packed')
  for (const name of await readdir(packed))
    if (name.startsWith(basename(folder))) await rm(join(packed, name), { recursive: true })
})

const command = (name: string, args: string) =>
  promisify(execFile)(process.execPath, ['engine/node/launch.mjs', `train/cli/${name}.ts`, ...args.split(' ')])

const packedFolders = async () =>
  (await readdir(join(cacheFolder(), 'packed')).catch(() => [])).filter((name) => name.startsWith(basename(folder)))

test('what does not fit is refused before a picture is packed', async () => {
  const before = await packedFolders()
  const base = `--data folder --data-dir ${pictures} --resolution 11 --no-tune`
  const refused = async (args: string) => {
    const failed = await command('pretrain', `${base} ${args} --out ${join(folder, 'refused')}`).catch(
      (e: unknown) => e,
    )
    const { code, stderr } = failed as { code: number; stderr: string }
    expect(code).toBe(1)
    return stderr.trim().split('\n').pop()
  }
  expect(await refused('--batch 30')).toBe(
    `error: --batch 30 is larger than the data set: 24 images of ${pictures}: lower --batch to at most 24`,
  )
  expect(await refused('--batch 24 --image-size 4096 --width 64')).toMatch(
    /^error: a step of --batch 24 with --views 4, --width 64 and 4096 pixels (does not fit the adapter|needs)/,
  )
  expect(await packedFolders()).toEqual(before)
  expect(await readdir(folder)).not.toContain('refused')
})

test('with defaults a run chooses its sizes, writes them to its configuration and resumes', async () => {
  const out = join(folder, 'defaults')
  // A processor chooses the width and the image size, too; here they are small to be quick.
  const base = `--data folder --data-dir ${pictures} --width 4 --image-size 8 --resize bilinear --no-tune --out ${out}`
  const { stderr } = await command('pretrain', `${base} --steps 1`)
  expect(stderr).toContain('24 pictures: chose --batch 4, --resolution 10\n')
  expect(stderr).toContain('\n24 pictures teach little: use thousands, or start from weights with --init\n')
  const written = async () => parse(await readFile(join(out, 'config.yaml'), 'utf8')) as object
  expect(await written()).toMatchObject({ batch: 4, resolution: 10, resize: 'bilinear', stem: 'imagenet', steps: 1 })
  const resumed = await command('pretrain', `--resume --steps 2 --no-tune --out ${out}`)
  expect(resumed.stdout).toMatch(/^done: 2 steps/)
  expect(resumed.stderr).not.toContain('chose')
  expect(await written()).toMatchObject({ batch: 4, resolution: 10, resize: 'bilinear', steps: 2 })
  // The command that `pretrain` proposes packs as the run did.
  const proposed = /^ {2}(?:npm run|npx webgpu-ssl) embed (?:-- )?(.*)$/m.exec(resumed.stderr)![1]
  expect(proposed).toBe(`--run ${out} --out ${join(out, 'features.safetensors')}`)
  expect(resumed.stderr).toMatch(/^ {2}(npm run|npx webgpu-ssl) probe (-- )?--run /m)
  await command('embed', proposed)
  expect(
    (await packedFolders()).filter((name) => name.includes('-test-')).every((name) => name.includes('bilinear')),
  ).toBe(true)
})

test('views draws what a run on the same pictures would draw', async () => {
  const out = join(folder, 'views.png')
  const own = await engineOfProcesses()
  const { views, augmentation } = pictureDefaults(
    { data: 'folder', dataDir: pictures },
    own,
    24,
    imageFolder.side,
  ).config
  own.close()
  const { stdout } = await command('views', `--data folder --data-dir ${pictures} --images 2 --out ${out}`)
  const side = augmentation.size
  expect(stdout).toBe(`${out}: 2 images of ${basename(pictures)}, each with ${views} views of ${side}×${side} pixels\n`)
})

test('a probe of pictures without labels, or without test pictures, names the ways out', async () => {
  const run = join(folder, 'defaults')
  for (const dataDir of [join(pictures, 'train'), join(pictures, 'train', 'cat')]) {
    const before = await packedFolders()
    const failed = await command('probe', `--run ${run} --data-dir ${dataDir}`).catch((e: unknown) => e)
    const { code, stderr } = failed as { code: number; stderr: string }
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^error: [^\n]*: a probe needs labels: [^\n]* train\/CLASS\/ [^\n]* val\/CLASS\/; [^\n]*: (npm run|npx webgpu-ssl) embed [^\n]*\n$/,
    )
    expect(await packedFolders()).toEqual(before)
  }
})

test('a run pretrains on a share of each class, and features from the packed file equal features from memory', async () => {
  const out = join(folder, 'run')
  const args =
    `--data folder --data-dir ${pictures} --resolution 12 --image-size 8 --width 4 --views 2 --projector-dim 8 --batch 6 ` +
    `--fraction 0.5 --fraction-per-class --stream --epochs 2 --no-tune --out ${out}`
  const { stdout, stderr } = await command('pretrain', args)
  expect(stdout).toMatch(/^done: 4 steps, 2 epochs/)
  expect(stderr).toContain('24/24 images')
  const { config, latest } = await openRun(out)
  expect(parse(await readFile(join(out, 'config.yaml'), 'utf8'))).toMatchObject({
    data: 'folder',
    resolution: 12,
    stream: 'always',
    fraction: 0.5,
    fractionPerClass: true,
  })

  const gpu = await engine()
  const { backbone } = buildNetwork(config)
  await loadModel(gpu, backbone.dict, join(latest!.folder, 'model.safetensors'))
  const options = { dataDir: pictures, cacheDir: cacheDir(), resolution: 12, progress: silentProgress }
  const [train, val] = [await loadDataset('folder', 'train', options), await loadDataset('folder', 'test', options)]
  const how = { recipe: config.augmentation, views: 2, seed: 1, batch: 5 }
  const fromFile = await extractFeatures(gpu, backbone, val, how)
  expect(fromFile).toHaveLength(9 * backbone.features)
  expect(fromFile).toEqual(await extractFeatures(gpu, backbone, await inMemory(val), how))
  const { trainCount, testCount, linear, knn } = await readout(gpu, backbone, train, val, {
    ...how,
    seeds: [1],
    ks: [20],
  })
  expect([trainCount, testCount]).toEqual([24, 9])
  expect(linear.top5).toBe(1)
  for (const { top1 } of [linear, ...knn]) expect(top1).toBeGreaterThan(1 / 3)
})

test('a share of each class needs labels', async () => {
  const dataset = fromArrays({ images: new Uint8Array(20 * 48), height: 4, width: 4, name: 'bare' })
  const config = resolveConfig({ fraction: 0.5, fractionPerClass: true, batch: 4, augmentation: { size: 4 } })
  await expect(pretrain({ engine: await engine(), dataset, config })).rejects.toThrow(
    '`fractionPerClass`: the images of bare (train) have no labels: use `fraction` alone',
  )
})
