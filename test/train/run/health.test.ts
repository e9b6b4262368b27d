/** What ends a run that has gone wrong, or warns of it: broken weights, grown weights, images without content. */
import { describe, expect, test } from 'vitest'
import { Arena, firstNonFinite, variable, type Engine, type Variable } from '../../../engine/index.js'
import { resnet } from '../../../models/index.js'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { weightHealth } from '../../../train/diagnostics/weight_health.js'
import { objectiveNames } from '../../../train/objectives/index.js'
import { DivergedError, grownWeights, refuseDivergence } from '../../../train/run/diverged.js'
import { HealthWatch } from '../../../train/run/health_watch.js'
import { pretrain, type PretrainOptions } from '../../../train/run/pretrain.js'
import { buildNetwork } from '../../../train/step/network.js'
import type { TrainingStep } from '../../../train/step/index.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'
import { colourfulImages } from '../../support/images.js'
import { memoryStore } from '../../support/memory_store.js'

const dataset = colourfulImages(40)
const configOf = (changes: PartialConfig = {}) =>
  resolveConfig({
    ...{ data: 'own images', width: 4, views: 2, projectorDim: 8, batch: 8, epochs: 2, seed: 7 },
    ...{ checkpointEvery: 100, augmentation: { size: 8 } },
    ...changes,
  })

async function run({ changes, ...options }: Partial<PretrainOptions> & { changes?: PartialConfig }) {
  const messages: string[] = []
  const onMessage = (line: string) => messages.push(line)
  const gpu = options.engine ?? (await engine())
  const result = await pretrain({ dataset, config: configOf(changes), onMessage, ...options, engine: gpu })
  for (const { dict } of [result.backbone, result.projector]) for (const v of dict.variables) gpu.release(v)
  return { ...result, messages }
}

/** The engine, with the Variables that runs use by name. */
async function spied(): Promise<{ gpu: Engine; variables: Map<string, Variable> }> {
  const own = await engine()
  const variables = new Map<string, Variable>()
  const gpu = Object.create(own, {
    bufferOf: {
      value: (v: Variable) => {
        variables.set(v.name, v)
        return own.bufferOf(v)
      },
    },
  }) as Engine
  return { gpu, variables }
}

describe('a reading of the weights', () => {
  test('has the largest root mean square, and names what is not finite', async () => {
    const gpu = await engine()
    const own = (name: string, shape: number[], by: number) =>
      variable(
        name,
        shape,
        formulaTensor(name, shape).map((v) => by * v),
      )
    const parameters = [own('wide', [7, 2401], 3), own('narrow', [5], 40), own('zeros', [130], 0)]
    new Arena(parameters)
    const others = [own('moment', [3, 3], 1e6), variable('count', [1], undefined, 'u32')]
    const health = await weightHealth(gpu, parameters, others)
    const values = parameters[1].initial as Float32Array
    const rms = Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / 5)
    const healthy = await health.read()
    expect(healthy).toMatchObject({ notFinite: [], largest: { name: 'narrow' } })
    expect(healthy.largest.rms / rms).toBeCloseTo(1, 5)

    const broken = (v: Variable, at: number, value: number) =>
      gpu.write(
        v,
        (v.initial as Float32Array).map((x, i) => (i === at ? value : x)),
      )
    // In the last, partial segment; a moment; and the last value before a gap.
    broken(parameters[0], 16806, NaN)
    broken(others[0], 8, -Infinity)
    expect((await health.read()).notFinite).toEqual(['wide', 'moment'])
    broken(parameters[0], 0, 1e30)
    broken(others[0], 0, 0)
    expect(await health.read()).toEqual({ notFinite: [], largest: { name: 'wide', rms: Infinity } })
    health.release()
    for (const v of [...parameters, ...others]) gpu.release(v)
  })

  test('is judged by its size', () => {
    const grown = (rms: number) =>
      grownWeights(configOf({ lr: 3 }), { step: 20, notFinite: [], largest: { name: 'conv1.weight', rms } })
    expect(grown(9.9)).toBeUndefined()
    expect(grown(11)).toEqual({
      line: "'conv1.weight' has grown to a root mean square of 11 after step 20; it should stay below 10: lower `lr` (now 3), or raise `weightDecay` (now 0.000001)",
      hopeless: false,
    })
    for (const rms of [1.1e6, Infinity])
      expect(grown(rms)).toMatchObject({ hopeless: true, line: expect.stringContaining('no run recovers') as string })
  })
})

describe('a run', () => {
  test('ends within 20 steps of a value that does not change the loss, and keeps its last good checkpoint', async () => {
    const { gpu, variables } = await spied()
    const files = new Map<string, Uint8Array>()
    const onStep = ({ step }: { step: number }): void => {
      const statistic = variables.get('bn1.running_var')!
      if (step === 6) gpu.write(statistic, new Float32Array(statistic.size).fill(NaN))
    }
    const changes = { epochs: 9, checkpointEvery: 1 }
    const failing = run({ engine: gpu, changes, out: memoryStore(files), onStep })
    await expect(failing).rejects.toThrow(
      /^'bn1.running_var' holds a value that is not finite after step 10: lower `lr`/,
    )
    expect([...files.keys()].filter((name) => name.endsWith('state.safetensors'))).toEqual([
      'checkpoints/step-00000005/state.safetensors',
    ])
    await expect(run({ engine: gpu, changes: { epochs: 9 }, onStep })).rejects.toThrow(/finite after step 20: /)
  })

  test('warns once of weights that have grown', async () => {
    const { messages } = await run({ changes: { lr: 1e4, steps: 45, epochs: undefined } })
    expect(messages.filter((line) => line.includes('has grown to a root mean square'))).toHaveLength(1)
  })

  test('says that steps are skipped because of their gradients, and ends when that goes on', async () => {
    const gpu = await engine()
    const config = configOf()
    const network = buildNetwork(config)
    const norms = [Infinity, 1, NaN, NaN]
    const gradientNorm = () => Promise.resolve(Float32Array.of(norms.shift()!))
    const trainingStep = { state: [], gradientNorm } as unknown as TrainingStep
    const messages: string[] = []
    const onMessage = (line: string) => messages.push(line)
    const watch = await HealthWatch.open({ engine: gpu, network, trainingStep, config, onMessage })
    for (const step of [20, 40, 60]) await watch.check(step)
    expect(messages.map((line) => /at step (\d+), so `clipNorm` skips the step$/.exec(line)?.[1])).toEqual(['20', '60'])
    await expect(watch.check(80)).rejects.toThrow(/not finite at step 80, .* as 20 steps before: lower `lr`/)
    watch.release()
  })

  test('reads the norm of its gradients where it clips them', async () => {
    const { messages } = await run({ changes: { clipNorm: 1, steps: 20, epochs: undefined } })
    expect(messages.filter((line) => line.includes('clipNorm'))).toEqual([])
  })

  test('does not blame the learning rate for the first step', () => {
    const refuse = (changes: PartialConfig) => () => refuseDivergence(configOf(changes), { step: 1, loss: NaN })
    expect(refuse({})).toThrow(
      /before any step has changed a weight: lower `lambda` \(now 0\.01\) or look at the images/,
    )
    expect(refuse({ init: 'x' })).toThrow(/check the weights of `init`/)
    expect(refuse({})).not.toThrow(/`lr`/)
  })
})

describe('debugNan', () => {
  const failed = async (changes: PartialConfig): Promise<DivergedError> =>
    run({ changes: { lr: 1e38, ...changes }, debugNan: true }).then(
      () => expect.unreachable(),
      (error: unknown) => error as DivergedError,
    )

  test.each<PartialConfig>([{}, { accumulate: 2 }, { views: 4, viewChunk: 2, bn: 'per-view' }])(
    'names the op with its shapes and ranges: %j',
    async (changes) => {
      const { message, detail } = await failed(changes)
      // The first step multiplies by 1e38; the second convolves with that.
      expect(message).toMatch(/ at(er)? step 2: lower `lr`|after step [12]: lower `lr`/)
      expect(message).not.toContain('debugNan')
      expect(detail).toMatch(
        /^The first result that is not finite: \w+, kernel \w+, dispatch \d+ of \d+ of the program '/,
      )
      expect(detail).toMatch(/\n {2}shapes: \[[\d, ]+\].* → \[[\d, ]+\]/)
      expect(detail).toMatch(/\(result\) +.*(NaN|infinite) of [\d,]+ values/)
    },
  )

  test('does not change the bits of a run', async () => {
    const changes = { clipNorm: 1, steps: 6, epochs: undefined }
    const [plain, debugged] = [await run({ changes }), await run({ changes, debugNan: true })]
    expect(debugged.losses).toEqual(plain.losses)
  })

  const variations: PartialConfig[] = [{ accumulate: 2 }, { views: 4, viewChunk: 2, bn: 'per-view' }, { clipNorm: 1 }]
  test.each([...objectiveNames.map((objective) => ({ objective })), ...variations])(
    'finds nothing in healthy steps: %j',
    async (changes) => {
      const gpu = await engine()
      const work = () => run({ changes: { steps: 1, epochs: undefined, ...changes } }).then(() => undefined)
      expect(await firstNonFinite(gpu, work)).toBeUndefined()
    },
  )
})

describe('images', () => {
  const size = { height: 10, width: 10 }
  const flat = (colour: (image: number, channel: number) => number, count = 40) =>
    fromArrays({
      images: Uint8Array.from({ length: count * 300 }, (_, k) => colour(Math.floor(k / 300), k % 3)),
      height: 10,
      width: 10,
    })

  test.each(['barlow-twins', 'simclr', 'vicreg'] as const)('that are black are refused: %s', async (objective) => {
    await expect(run({ dataset: flat(() => 0), changes: { objective } })).rejects.toThrow(
      /^`data`: 40 train images of own images were looked at, and all are equal \(every pixel is black\): .*`dataDir`$/,
    )
  })

  test('that are all equal are refused', async () => {
    await expect(run({ dataset: flat((_, channel) => 50 + channel) })).rejects.toThrow(/every pixel is \(50, 51, 52\)/)
    const one = dataset.images.subarray(0, 300)
    const same = fromArrays({
      images: Uint8Array.from({ length: 12000 }, (_, k) => one[k % 300]),
      height: 10,
      width: 10,
    })
    await expect(run({ dataset: same })).rejects.toThrow(/are equal \(the same picture\)/)
  })

  test('of a single colour, or almost equal, give a warning', async () => {
    const steps = { steps: 1, epochs: undefined }
    const some = fromArrays({ ...size, images: dataset.images.map((v, k) => (k < 4 * 300 ? 9 : v)) })
    const { messages } = await run({ dataset: some, changes: steps })
    expect(messages[0]).toMatch(/^40 train images of own images were looked at, and 4 of them have a single colour/)
    const faint = fromArrays({ ...size, images: dataset.images.map((v) => v % 2) })
    expect((await run({ dataset: faint, changes: steps })).messages[0]).toMatch(/almost equal: .* is 0\.\d\d of 255/)
    expect((await run({ changes: steps })).messages[0]).not.toMatch(/looked at/)
  })
})

describe('initial weights', () => {
  const tensors = () => {
    const { dict } = resnet({ arch: 'resnet18', width: 4 })
    return Object.fromEntries(
      [...dict.entries].map(([name, { torchShape }]) => [
        name,
        {
          dtype: 'F32' as const,
          shape: [...torchShape],
          data: formulaTensor(name, torchShape).map((v) => Math.abs(v)),
        },
      ]),
    )
  }
  const begin = (name: string, change: (data: Float32Array) => void) => {
    const all = tensors()
    change(all[name].data)
    const initial = { tensors: all, source: 'given.safetensors' }
    return run({ initial, changes: { init: 'given.safetensors', steps: 1, epochs: undefined } })
  }

  test('with values that no network has are refused', async () => {
    await expect(begin('layer1.0.conv1.weight', (data) => data.fill(NaN, 3, 5))).rejects.toThrow(
      /^given.safetensors: 'layer1.0.conv1.weight' holds NaN \(2 of its 144 values are not finite\): the file is damaged/,
    )
    await expect(begin('bn1.running_var', (data) => (data[2] = -1))).rejects.toThrow(
      /'bn1.running_var' holds -1 \(1 of/,
    )
  })

  test('that have grown give a warning', async () => {
    const { messages } = await begin('layer2.0.conv1.weight', (data) => data.fill(1e5))
    expect(messages.join('\n')).toMatch(/given.safetensors: 'layer2.0.conv1.weight' has a root mean square of 1.0e\+5;/)
    expect((await begin('bn1.running_var', (data) => data.fill(500))).messages.join('\n')).not.toMatch(/mean square/)
  })
})
