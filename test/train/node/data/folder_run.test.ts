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
import { cacheFolder } from '../../../../engine/node/drivers.mjs'
import { openRun } from '../../../../train/node/run_folder.js'
import { loadModel } from '../../../../train/node/weights.js'
import { resolveConfig } from '../../../../train/config/config.js'
import { fromArrays, inMemory } from '../../../../train/data/dataset.js'
import { loadDataset } from '../../../../train/node/data/index.js'
import { silentProgress } from '../../../../train/data/progress.js'
import { buildNetwork } from '../../../../train/step/network.js'
import { pretrain } from '../../../../train/node/pretrain.js'
import { readout } from '../../../../train/readout/readout.js'
import { extractFeatures } from '../../../../train/readout/features.js'
import { engine } from '../../../support/engine.js'

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

test('a run pretrains on a share of each class, and features from the packed file equal features from memory', async () => {
  const out = join(folder, 'run')
  const args =
    `--data folder --data-dir ${pictures} --resolution 12 --image-size 8 --width 4 --views 2 --projector-dim 8 --batch 6 ` +
    `--fraction 0.5 --fraction-per-class --stream --epochs 2 --no-tune --out ${out}`
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [
    'engine/node/launch.mjs',
    'train/cli/pretrain.ts',
    ...args.split(' '),
  ])
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
