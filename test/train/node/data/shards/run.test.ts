/** A run on shards from a server: the server goes away, the run is saved, and goes on with the same bits. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { resolveConfig } from '../../../../../train/config/config.js'
import { silentProgress } from '../../../../../train/data/progress.js'
import { loadDataset } from '../../../../../train/node/data/index.js'
import { HttpFiles } from '../../../../../train/node/data/shards/http_files.js'
import { writeShards } from '../../../../../train/node/data/shards/write_shards.js'
import { checkpointPath, isResumable } from '../../../../../train/run/folder.js'
import { pretrain, type PretrainOptions, type PretrainResult } from '../../../../../train/run/pretrain.js'
import { engine } from '../../../../support/engine.js'
import { colourfulImages } from '../../../../support/images.js'
import { memoryStore } from '../../../../support/memory_store.js'
import { shardServer } from '../../../../support/shard_server.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-shard-run-'))
  const { images } = colourfulImages(24)
  for (let i = 0; i < 24; i++) {
    const own = join(folder, 'pictures', `class${i % 2}`)
    await mkdir(own, { recursive: true })
    const raw = { width: 10, height: 10, channels: 3 } as const
    await sharp(images.subarray(300 * i, 300 * (i + 1)), { raw })
      .png()
      .toFile(join(own, `${i}.png`))
  }
  await writeShards({
    ...{ from: join(folder, 'pictures'), out: join(folder, 'shards'), shardBytes: 6000, seed: 1 },
    ...{ progress: silentProgress, onWarning: (line) => expect.unreachable(line) },
  })
})
afterAll(() => rm(folder, { recursive: true }))

const config = resolveConfig({
  ...{ data: 'shards', resolution: 10, stem: 'cifar', width: 4, views: 2, projectorDim: 8, batch: 8 },
  ...{ epochs: 3, checkpointEvery: 3, onlineProbe: true, augmentation: { size: 8 } },
})

/** A run on the shards in a folder or on a server. */
async function run(
  dataDir: string,
  files: Map<string, Uint8Array>,
  options: Partial<PretrainOptions> = {},
): Promise<PretrainResult> {
  const out = memoryStore(files)
  const loading = { dataDir, resolution: 10, cacheDir: join(folder, 'cache'), progress: silentProgress }
  const dataset = await loadDataset('shards', 'train', loading)
  // Pauses of seconds are for servers that restart.
  const { source } = dataset.images as unknown as { source: HttpFiles }
  if (source instanceof HttpFiles) Object.assign(source, { pauses: [1] })
  return pretrain({
    ...{ engine: await engine(), dataset, test: dataset, config, out, diagnosisShare: 0 },
    resume: await isResumable(out),
    ...options,
  })
}

test('a server that is lost ends the run, which is saved and resumes with the same bits', async () => {
  const served = await shardServer(join(folder, 'shards'))
  const expected = new Map<string, Uint8Array>()
  await run(join(folder, 'shards'), expected)
  const files = new Map<string, Uint8Array>()
  const onStep = ({ step }: { step: number }): void => void (step === 1 && (served.trouble = () => 503))
  await expect(run(served.url, files, { onStep })).rejects.toThrow(
    /train-00000\d\.tar: status 503, also after 2 tries: `resume` goes on from step \d+$/,
  )
  served.trouble = undefined
  const { steps } = await run(served.url, files)
  expect(steps).toBe(9)
  for (const file of ['model.safetensors', 'state.safetensors']) {
    const path = checkpointPath('step-00000009', file)
    expect(files.get(path), file).toEqual(expected.get(path))
  }
  served.server.close()
})

test('a reading of a checkpoint that finds no server names the step that is saved', async () => {
  const served = await shardServer(join(folder, 'shards'))
  const files = new Map<string, Uint8Array>()
  const onMessage = (line: string): void => void (line.includes('kNN') && (served.trouble = () => 503))
  await expect(run(served.url, files, { onMessage, diagnosisShare: Infinity })).rejects.toThrow(
    /also after 2 tries: `resume` goes on from step 9$/,
  )
  expect(files.has(checkpointPath('step-00000009', 'model.safetensors'))).toBe(true)
  served.server.close()
})
