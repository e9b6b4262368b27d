/** Pretraining that begins from weights, with frozen stages. */
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { decodeSafetensors, encodeSafetensors, resnet, type SafetensorsTensor } from '../../../models/index.js'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { openRun, pretrain } from '../../../train/node/index.js'
import { pretrain as pretrainInStore } from '../../../train/run/pretrain.js'
import { engine } from '../../support/engine.js'
import { formulaParameter } from '../../support/formula.js'
import { colourfulImages } from '../../support/images.js'

type Tensors = Record<string, SafetensorsTensor>

let folder: string
let weights: string
let tensors: Tensors
const dataset = colourfulImages(24)

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-init-'))
  weights = join(folder, 'init.safetensors')
  tensors = {}
  for (const [name, { torchShape }] of resnet({ arch: 'resnet18', width: 4 }).dict.entries)
    tensors[name] = { dtype: 'F32', shape: [...torchShape], data: formulaParameter(name, torchShape) }
  await writeFile(weights, encodeSafetensors(tensors))
})
afterAll(() => rm(folder, { recursive: true }))

const configOf = (changes: PartialConfig) =>
  resolveConfig({
    ...{ data: 'own images', width: 4, views: 2, projectorDim: 8, batch: 12, epochs: 1, lr: 0.01, seed: 3 },
    ...{ augmentation: { size: 8 }, init: weights, ...changes },
  })

async function run(name: string, changes: PartialConfig = {}, resume = false) {
  const out = join(folder, name)
  const lines: string[] = []
  const config = configOf(changes)
  const onMessage = (line: string) => void lines.push(line)
  await pretrain({ engine: await engine(), dataset, config, out, resume, diagnosisShare: 0, onMessage })
  const { latest } = await openRun(out)
  const read = async (file: string): Promise<Tensors> =>
    decodeSafetensors(await readFile(join(latest!.folder, file))).tensors
  return { out, lines, read }
}

/** The stage of a tensor of the backbone; 0 is the stem. */
const stageOf = (name: string): number => Number(/^layer(\d)/.exec(name)?.[1] ?? 0)
const changed = (found: Tensors, prefix = ''): string[] =>
  Object.keys(tensors).filter((name) => {
    const [a, b] = [found[prefix + name].data, tensors[name].data] as Float32Array[]
    return a.some((value, i) => value !== b[i])
  })

test('without frozen stages every tensor of the backbone moves away from the given weights', async () => {
  const { lines, read } = await run('free', { lr: 1e-4, steps: 1 })
  const model = await read('model.safetensors')
  expect(lines).toContain(`initial weights of the backbone: ${weights}`)
  expect(lines[0]).toMatch(/^resnet18, width 4: [\d,]+ parameters$/)
  expect(changed(model)).toHaveLength(Object.keys(tensors).length)
  // After one small step of Adam, each weight is within the step of its initial value.
  for (const [name, { data }] of Object.entries(tensors))
    if (!name.includes('running'))
      (data as Float32Array).forEach((value, i) =>
        expect(Math.abs((model[name].data as Float32Array)[i] - value)).toBeLessThan(2e-4),
      )
})

test.each<[number, PartialConfig]>([
  [0, {}],
  [2, { emaRate: 0.5, clipNorm: 1 }],
  [4, { emaRate: 0.5, objective: 'byol' }],
  [1, { bn: 'per-view', viewChunk: 1, optimizer: 'lars' }],
  [3, { accumulate: 2 }],
])('frozen stages (%i) keep weights and statistics, and have no optimiser state: %o', async (stages, changes) => {
  const { lines, read } = await run(`frozen-${stages}`, { freezeStages: stages, ...changes })
  const moved = new Set(changed(await read('model.safetensors')))
  for (const name of Object.keys(tensors)) expect(moved.has(name), name).toBe(stageOf(name) > stages)
  const state = await read('state.safetensors')
  const moments = Object.keys(state).filter((name) => /^(conv1|bn1|layer)/.test(name) && !(name in tensors))
  expect(moments.filter((name) => stageOf(name) <= stages)).toEqual([])
  expect(moments.length > 0).toBe(stages < 4)
  expect(lines[0]).toMatch(/parameters, [\d,]+ of them frozen$/)
  if (changes.emaRate) {
    const average = new Set(changed(await read('average.safetensors')))
    for (const name of Object.keys(tensors)) expect(average.has(name), name).toBe(stageOf(name) > stages)
  }
})

test('a run that is resumed needs the weights no more, and ends with the same bits', async () => {
  const changes = { freezeStages: 1, epochs: 2, checkpointEvery: 1 }
  const whole = await run('whole', changes)
  await run('parts', { ...changes, epochs: 1 })
  await rename(weights, `${weights}.gone`)
  try {
    const parts = await run('parts', changes, true)
    expect(await parts.read('state.safetensors')).toEqual(await whole.read('state.safetensors'))
    expect((await openRun(parts.out)).config).toMatchObject({ init: weights, freezeStages: 1 })
    expect(parts.lines).not.toContain(`initial weights of the backbone: ${weights}`)
    await expect(run('absent', changes)).rejects.toThrow(`${weights}: there is no such file`)
    await expect(run('parts', { ...changes, init: 'other' }, true)).rejects.toThrow(/has init ".*", not "other"/)
  } finally {
    await rename(`${weights}.gone`, weights)
  }
})

test("a run's folder gives the weights of its newest checkpoint", async () => {
  const first = await run('first')
  const second = await run('second', { init: first.out, freezeStages: 4 })
  const [a, b] = await Promise.all([first, second].map(({ read }) => read('model.safetensors')))
  for (const name of Object.keys(tensors)) expect(b[name], name).toEqual(a[name])
  expect(b['projector.0.weight']).not.toEqual(a['projector.0.weight'])
})

describe('one line', () => {
  const refused = async (changes: PartialConfig, message: RegExp) => {
    await expect(run('refused', changes)).rejects.toThrow(message)
    await expect(readFile(join(folder, 'refused', 'config.yaml'))).rejects.toThrow(/ENOENT/)
  }

  test('for weights of another network, or without a tensor', async () => {
    await refused({ width: 8 }, /^.*init\.safetensors: 'conv1\.weight' is \[4, 3, 3, 3\][^\n]*$/)
    const { 'layer2.0.bn1.running_var': _, ...fewer } = tensors
    const init = join(folder, 'fewer.safetensors')
    await writeFile(init, encodeSafetensors(fewer))
    await refused({ init }, /^.*fewer\.safetensors: has no tensor 'layer2\.0\.bn1\.running_var'[^\n]*$/)
  })

  test('for a run without a checkpoint', async () => {
    await refused({ init: join(folder, 'empty') }, /empty: there is no such file$/)
    await refused({ init: folder }, /holds no run [^\n]*: name one of those in it: /)
  })

  test('for options that do not fit together', async () => {
    expect(() => configOf({ init: undefined, freezeStages: 2 })).toThrow(
      '`freezeStages` 2: would keep random weights; give weights with `init`',
    )
    expect(() => configOf({ freezeStages: 5 })).toThrow('`freezeStages` 5: must be at most 4')
    expect(() => resnet({ arch: 'resnet18', freezeStages: 1.5 })).toThrow('freezeStages 1.5 must be a whole number')
    const gpu = await engine()
    const initial = { tensors, source: 'mine' }
    await expect(pretrainInStore({ engine: gpu, dataset, config: configOf({}) })).rejects.toThrow(
      /^`init` .*: pass its weights as `initial`$/,
    )
    await expect(
      pretrainInStore({ engine: gpu, dataset, config: configOf({ init: undefined }), initial }),
    ).rejects.toThrow('`initial`: name these weights in the configuration, as `init`')
  })
})

test('weights in half precision are converted', async () => {
  // bfloat16 is the upper half of an f32.
  const half = Object.fromEntries(
    Object.entries(tensors).map(([name, { shape, data }]) => {
      const bits = new Uint32Array((data as Float32Array).slice().buffer)
      return [name, { dtype: 'BF16' as const, shape, data: Uint16Array.from(bits, (b) => b >>> 16) }]
    }),
  )
  const init = join(folder, 'half.safetensors')
  await writeFile(init, encodeSafetensors(half))
  const { read } = await run('half', { init, freezeStages: 4 })
  const model = await read('model.safetensors')
  for (const [name, { data }] of Object.entries(tensors))
    (model[name].data as Float32Array).forEach((value, i) => {
      const exact = (data as Float32Array)[i]
      expect(Math.abs(value - exact)).toBeLessThanOrEqual(2 ** -7 * Math.abs(exact))
    })
})
