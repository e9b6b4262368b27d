/** Planning a step before anything is loaded: its bytes are those of the buffers it makes, and what fits is named. */
import { describe, expect, test } from 'vitest'
import { OutOfMemoryError, type Engine, type Target } from '../../../engine/index.js'
import { asCommandLine } from '../../../engine/node/command.js'
import { pretrain, resolveConfig, type PartialConfig } from '../../../train/index.js'
import { pictureDefaults } from '../../../train/cli/picture_defaults.js'
import { refuseUnfit, stepBytes } from '../../../train/step/fit.js'
import { buildNetwork } from '../../../train/step/network.js'
import { refuseOversized } from '../../../train/step/network_size.js'
import { colourfulImages } from '../../support/images.js'
import { engine, engineFor } from '../../support/engine.js'

const SIDE = 10
const configOf = (changes: PartialConfig = {}) =>
  resolveConfig({
    ...{ data: 'own images', width: 8, projectorDim: 16, batch: 16, steps: 1, stream: 'always' },
    augmentation: { size: 16 },
    ...changes,
  })

/** The bytes of all buffers that a run of one step makes, without those for reading back and for uniforms. */
async function bytesMade(config: ReturnType<typeof configOf>): Promise<number> {
  const own = await engine()
  let bytes = 0
  const counting = Object.create(own, {
    createBuffer: {
      value: (size: number, usage: number, label: string) => {
        if (!/params|read-back/.test(label)) bytes += size
        return own.createBuffer(size, usage, label)
      },
    },
  }) as Engine
  await pretrain({
    engine: counting,
    dataset: { ...colourfulImages(64), height: SIDE, width: SIDE },
    config,
    diagnosisShare: 0,
  })
  return bytes
}

describe('the planned bytes are those that a run takes', () => {
  test.each<[string, PartialConfig]>([
    ['all views at once', {}],
    ['views in chunks', { bn: 'per-view', viewChunk: 2 }],
    ['two micro-batches', { accumulate: 2 }],
    ['BYOL with a moving average, LARS', { objective: 'byol', emaRate: 0.99, optimizer: 'lars' }],
  ])('%s', async (_, changes) => {
    const config = configOf(changes)
    const made = await bytesMade(config)
    const planned = stepBytes({ engine: await engine(), side: SIDE }, config)
    expect(Math.abs(planned - made) / made).toBeLessThan(0.02)
  })
})

describe('a step that does not fit is refused', () => {
  /** The values that an error suggests. */
  const suggested = (message: string): Record<string, number> =>
    Object.fromEntries(
      [...message.split(': use ')[1].matchAll(/`(\w+)` (\d+)/g)].map(([, name, value]) => [name, Number(value)]),
    )
  const messageOf = (refuse: () => void): string => {
    try {
      refuse()
    } catch (error) {
      return (error as Error).message
    }
    return ''
  }

  test('for lack of memory, with values that fit, each alone', async () => {
    const config = configOf({ width: 16, batch: 64, augmentation: { size: 24 } })
    const room = {
      engine: await engine(),
      side: SIDE,
      memory: 0.7 * stepBytes({ engine: await engine(), side: SIDE }, config),
    }
    const message = messageOf(() => refuseUnfit(room, config))
    expect(message).toMatch(/^a step of `batch` 64 with `views` 4, `width` 16 and 24 pixels needs [\d,]+ MiB of memory/)
    expect(asCommandLine(message)).toContain('use --batch ')
    const values = suggested(message)
    expect(Object.keys(values)).toEqual(['batch', 'viewChunk', 'width'])
    const bytes = (changes: PartialConfig) => stepBytes(room, resolveConfig({ ...config, ...changes }))
    expect(bytes({ batch: values.batch })).toBeLessThanOrEqual(room.memory)
    expect(bytes({ width: values.width })).toBeLessThanOrEqual(room.memory)
    expect(bytes({ viewChunk: values.viewChunk, bn: 'per-view' })).toBeLessThanOrEqual(room.memory)
    // The next larger value does not fit.
    for (const name of ['batch', 'width'] as const)
      expect(values[name] * 2 === config[name] || bytes({ [name]: 2 * values[name] }) > room.memory).toBe(true)
    expect(messageOf(() => refuseUnfit({ ...room, memory: 2 * room.memory }, config))).toBe('')
  })

  test('for the limits of the adapter, also in the library', async () => {
    const config = configOf({ batch: 128, objective: 'byol' })
    // The output of the stem for 2 views of 128 images is 4/3 of this.
    const narrow = await engineFor({ maxBufferBytes: 1.5 * 2 ** 20 })
    await expect(pretrain({ engine: narrow, dataset: colourfulImages(128), config })).rejects.toThrow(
      /^a step of `batch` 128 with `views` 2, `width` 8 and 16 pixels does not fit the adapter: .*: use `batch` 64$/,
    )
  })
})

test('if the device runs out of memory, the error names what takes less, whatever the device has free now', async () => {
  const own = await engine()
  const full = Object.create(own, {
    compileTogether: { value: () => Promise.reject(new OutOfMemoryError('training step: out of device memory')) },
  }) as Engine
  await expect(pretrain({ engine: full, dataset: colourfulImages(64), config: configOf() })).rejects.toThrow(
    /^a step of `batch` \d+ .* needs \d+ MiB of memory, and \d+ MiB are available: use `batch` \d+, or `viewChunk` 2 with/,
  )
})

test.each([{ width: 4096 }, { projectorDim: 1e6 }])(
  'weights over the largest buffer: the number that is named fits, %o',
  (given) => {
    const target = { maxBufferBytes: 2 ** 28 } as Target
    const refused = (changes: PartialConfig) => {
      const config = resolveConfig(changes)
      return () => refuseOversized(buildNetwork(config), config, target)
    }
    const [field] = Object.keys(given)
    const named = new RegExp(`: use .${field}. (\\d+)$`)
    expect(refused(given)).toThrow(named)
    let fits = 0
    try {
      refused(given)()
    } catch (error) {
      fits = Number(named.exec((error as Error).message)![1])
    }
    expect(refused({ [field]: fits })).not.toThrow()
    expect(refused({ [field]: 2 * fits })).toThrow(/largest buffer/)
  },
)

describe('defaults for a folder of pictures', () => {
  const given: PartialConfig = { data: 'folder', dataDir: 'pictures' }

  test('a processor gets a small network; what is given wins', async () => {
    const cpu = await engineFor({ adapterClass: 'cpu' })
    const { config, note } = pictureDefaults(given, cpu, 10_000, 160)
    expect(config).toMatchObject({
      width: 16,
      batch: 64,
      resolution: 80,
      stem: 'imagenet',
      augmentation: { size: 64, scale: [0.08, 1] },
    })
    expect(note).toMatch(/^10,000 pictures: chose `width` 16, `imageSize` 64, `batch` 64, `resolution` 80\n.*MiB/)
    const own: PartialConfig = {
      ...given,
      width: 8,
      batch: 6,
      resolution: 40,
      stem: 'cifar',
      augmentation: { size: 32 },
    }
    const chosen = pictureDefaults(own, cpu, 10_000, 160)
    expect(chosen.config).toEqual(resolveConfig(own))
    expect(chosen.note).toBeUndefined()
  })

  test('a small folder gets a small batch; one picture is refused', async () => {
    const cpu = await engineFor({ adapterClass: 'cpu' })
    const batchOf = (pictures: number, more: PartialConfig = {}) =>
      pictureDefaults({ ...given, ...more }, cpu, pictures, 160).config.batch
    expect([2, 7, 20, 100, 300].map((pictures) => batchOf(pictures))).toEqual([2, 2, 4, 16, 64])
    expect(batchOf(300, { accumulate: 4 })).toBe(16)
    expect(batchOf(300, { fraction: 0.1 })).toBe(4)
    expect(() => batchOf(1)).toThrow('`dataDir` pictures: pretraining compares pictures, and the folder holds only one')
  })

  test('a GPU keeps the network and gets the largest batch that its limits and the budget allow', async () => {
    const gpu = await engineFor({ adapterClass: 'gpu', maxBindingBytes: 2 ** 31 - 256 })
    const { config } = pictureDefaults(given, gpu, 100_000, 160)
    expect(config).toMatchObject({ width: 64, resolution: 160, augmentation: { size: 128 } })
    const bytes = (batch: number) => stepBytes({ engine: gpu, side: 160 }, { ...config, batch })
    const [taken, more] = [bytes(config.batch), bytes(2 * config.batch)]
    expect(taken).toBeLessThanOrEqual(6 * 2 ** 30)
    expect(config.batch === 256 || more > taken).toBe(true)
    const small = await engineFor({ adapterClass: 'gpu', maxBufferBytes: 2 ** 26 })
    expect(pictureDefaults(given, small, 100_000, 160).config.batch).toBeLessThan(config.batch)
  })
})
