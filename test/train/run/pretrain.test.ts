/** Pretraining on a small data set: learning, resuming bit for bit, and how runs end. */
import { mkdtempSync, readFileSync, readdirSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rm } from 'node:fs/promises'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { openRun } from '../../../train/node/run_folder.js'
import { diagnose } from '../../../train/diagnostics/diagnose.js'
import { pretrain, type PretrainOptions } from '../../../train/node/pretrain.js'
import type { PretrainResult } from '../../../train/run/pretrain.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { heldAfter } from '../../support/held.js'
import { colourfulImages } from '../../support/images.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
afterAll(() => rm(folder, { recursive: true }))

const dataset = colourfulImages(40)
const small = (changes: PartialConfig = {}) =>
  resolveConfig({
    data: 'own images',
    width: 4,
    views: 3,
    projectorDim: 8,
    lambda: 0.05,
    batch: 8,
    epochs: 2,
    checkpointEvery: 100,
    seed: 7,
    augmentation: { size: 8 },
    ...changes,
  })

async function run(options: Partial<PretrainOptions> & { changes?: PartialConfig }): Promise<PretrainResult> {
  return pretrain({ engine: await engine(), dataset, config: small(options.changes), ...options })
}

interface Line {
  step: number
  epoch: number
}
const linesOf = <T extends Line>(run: string, file: string): T[] =>
  readFileSync(join(run, file), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T)

const bytesOf = (run: string, file: string) => {
  const [newest] = readdirSync(join(run, 'checkpoints')).sort().reverse()
  return readFileSync(join(run, 'checkpoints', newest, file))
}

describe('a run', () => {
  let whole: string
  beforeAll(async () => {
    whole = join(folder, 'whole')
    await run({ out: whole })
  })

  test('trains on every whole batch of every epoch, and records it', async () => {
    const metrics = readFileSync(join(whole, 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { step: number; epoch: number; loss: number })
    expect(metrics.map((m) => m.step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(metrics.map((m) => m.epoch)).toEqual([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    expect(metrics.every((m) => Number.isFinite(m.loss))).toBe(true)
    expect(JSON.parse(readFileSync(join(whole, 'summary.json'), 'utf8'))).toMatchObject({
      stopped: 'done',
      steps: 10,
      totalSteps: 10,
      epochs: 2,
    })
    const { config, latest } = await openRun(whole)
    expect(config).toEqual(small())
    expect(latest).toMatchObject({ step: 10, epoch: 2, stepInEpoch: 0 })
  })

  test('that is stopped within an epoch and resumed equals an uninterrupted run bit for bit', async () => {
    const out = join(folder, 'parts')
    const abort = new AbortController()
    const first = await run({ out, signal: abort.signal, onStep: ({ step }) => step === 3 && abort.abort() })
    expect(first.stopped).toBe('signal')
    expect(first.steps).toBeGreaterThanOrEqual(3)
    expect(first.steps).toBeLessThan(10)
    const second = await run({ out, resume: true })
    expect(second).toMatchObject({ stopped: 'done', steps: 10 })
    expect(bytesOf(out, 'state.safetensors').equals(bytesOf(whole, 'state.safetensors'))).toBe(true)
    expect(bytesOf(out, 'model.safetensors').equals(bytesOf(whole, 'model.safetensors'))).toBe(true)
    const losses = (run: string) =>
      readFileSync(join(run, 'metrics.jsonl'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { loss: number }).loss)
    expect(losses(out)).toEqual(losses(whole))
  })

  test('with another seed has other weights', async () => {
    const out = join(folder, 'seed')
    await run({ out, changes: { seed: 8 } })
    expect(bytesOf(out, 'model.safetensors').equals(bytesOf(whole, 'model.safetensors'))).toBe(false)
  })

  test('is never overwritten', async () => {
    await expect(run({ out: whole })).rejects.toThrow(/holds a run already: continue it with `resume`/)
  })

  test('saves and stops at its time limit', async () => {
    const out = join(folder, 'time')
    const result = await run({ out, maxMinutes: 1e-9, changes: { epochs: 50 } })
    expect(result.stopped).toBe('time')
    expect((await openRun(out)).latest?.step).toBe(result.steps)
  })
})

describe('an error of one line', () => {
  test.each<[PartialConfig, RegExp]>([
    [{}, / or lower `lambda` \(now 0\.05\) or look at the images; `debugNan` names the op$/],
    [
      { objective: 'vicreg', lambda: 25 },
      / or raise `lambda` \(now 25\) or look at the images; `debugNan` names the op$/,
    ],
    [
      { objective: 'spectral', lambda: undefined },
      / or lower `beta` \(now 0\.5\) or look at the images; `debugNan` names the op$/,
    ],
    [
      { objective: 'byol', lambda: undefined, views: 2, symmetric: false },
      /lower `lr` \(now 1e\+38\); `debugNan` names the op$/,
    ],
  ])('names the step at which the loss is not finite, and the options to change: %j', async (changes, remedy) => {
    const diverging = run({ changes: { lr: 1e38, epochs: 5, ...changes } })
    await expect(diverging).rejects.toThrow(/^the loss is (NaN|-?Infinity) at step \d+: lower `lr` \(now 1e\+38\)/)
    await expect(diverging).rejects.toThrow(remedy)
  })

  test('says that the batch is larger than the data set, and nothing is written', async () => {
    const out = join(folder, 'none')
    await expect(run({ out, changes: { batch: 41 } })).rejects.toThrow(
      '`batch` 41 is larger than the data set: 40 images of own images: lower `batch` to at most 40',
    )
    await expect(run({ out, changes: { batch: 21, fraction: 0.5 } })).rejects.toThrow(
      '20 images of own images (`fraction` 0.5): lower `batch` to at most 20, or raise `fraction`',
    )
    expect(existsSync(out)).toBe(false)
  })

  test('says that there is no run to resume', async () => {
    await expect(run({ out: join(folder, 'nothing'), resume: true })).rejects.toThrow(/nothing holds no run/)
  })
})

describe('a run frees', () => {
  const failing = (options: Parameters<typeof run>[0]) => () => expect(run(options)).rejects.toThrow()

  test('everything if it diverges, cannot be restored or does not compile', async () => {
    const gpu = await engine()
    const byol: PartialConfig = { objective: 'byol', lambda: undefined, views: 2, emaRate: 0.9, lr: 1e38 }
    expect(await heldAfter(failing({ changes: byol }))).toEqual([])
    const accumulated: PartialConfig = { adaptiveLambda: true, accumulate: 2, lr: 1e38 }
    expect(await heldAfter(failing({ changes: accumulated }))).toEqual([])
    const out = join(folder, 'damaged')
    await run({ out, changes: { steps: 1 } })
    await rm(join(out, 'checkpoints', 'step-00000001', 'state.safetensors'))
    expect(await heldAfter(failing({ out, resume: true }))).toEqual([])
    for (const changes of [{}, { accumulate: 2 }, { bn: 'per-view', viewChunk: 1 }] as const) {
      // Compilation fails after all Variables are on the device.
      const refusing = Object.create(gpu, {
        compileTogether: {
          value: async (...args: Parameters<typeof gpu.compileTogether>) => {
            for (const program of await gpu.compileTogether(...args)) program.destroy()
            throw new Error('refused')
          },
        },
      }) as typeof gpu
      const work = () => expect(run({ engine: refusing, changes })).rejects.toThrow('refused')
      expect(await heldAfter(work)).toEqual([])
    }
  })

  test('everything that its result does not return', async () => {
    const gpu = await engine()
    const held = await heldAfter(async () => {
      const changes: PartialConfig = { objective: 'byol', lambda: undefined, views: 2, emaRate: 0.9, steps: 2 }
      const { backbone, projector, average } = await run({ changes })
      for (const { dict } of [backbone, projector, average!]) for (const v of dict.variables) gpu.release(v)
    })
    expect(held).toEqual([])
  })
})

describe('diagnostics.jsonl', () => {
  interface Diagnosed extends Line {
    alpha?: number
    effectiveRank: number
    eigenvalues: number[]
    alignment: number
    uniformity: number
    images: number
    warning?: string
  }

  test('has one line per checkpoint, and loses the lines of steps that a resumed run repeats', async () => {
    const gpu = await engine()
    const out = join(folder, 'diagnosed')
    const options = { out, diagnosisShare: Infinity }
    const changes: PartialConfig = { checkpointEvery: 1, epochs: 3 }
    const messages: string[] = []
    const { backbone } = await run({ ...options, changes, onMessage: (line) => messages.push(line) })
    const lines = linesOf<Diagnosed>(out, 'diagnostics.jsonl')
    expect(lines.map(({ step, epoch }) => [step, epoch])).toEqual([
      [5, 1],
      [10, 2],
      [15, 3],
    ])
    const config = small(changes)
    const found = await diagnose(gpu, backbone, dataset, { ...config, recipe: config.augmentation })
    expect([lines[2].images, lines[2].warning]).toEqual([40, found.warning])
    expectClose('eigenvalues', lines[2].eigenvalues, found.eigenvalues, 1e-4)
    expect(lines[2].alignment).toBeCloseTo(found.alignment, 4)
    expect(lines[2].uniformity).toBeCloseTo(found.uniformity, 4)
    expect(messages.filter((line) => line.includes('collapsed'))).toHaveLength(
      lines.filter((line) => 'warning' in line).length,
    )

    const whole = join(folder, 'diagnosed-whole')
    await run({ ...options, out: whole, changes: { ...changes, epochs: 4 } })
    const parts = join(folder, 'diagnosed-parts')
    await run({ ...options, out: parts, changes: { ...changes, epochs: 2 } })
    await run({ ...options, out: parts, resume: true, changes: { ...changes, epochs: 4 } })
    expect(linesOf(parts, 'diagnostics.jsonl')).toEqual(linesOf(whole, 'diagnostics.jsonl'))
  })

  test('has no line if a diagnosis would take more than its share of the time', async () => {
    const out = join(folder, 'undiagnosed')
    await run({ out, changes: { checkpointEvery: 1 } })
    expect(existsSync(join(out, 'diagnostics.jsonl'))).toBe(false)
  })

  test('and adaptive λ compile the diagnosis once', async () => {
    const gpu = await engine()
    let compiled = 0
    const counting = Object.create(gpu, {
      compile: {
        value: (...args: Parameters<typeof gpu.compile>) => {
          if (args[0].label === 'features') compiled++
          return gpu.compile(...args)
        },
      },
    }) as typeof gpu
    const changes: PartialConfig = { adaptiveLambda: true, checkpointEvery: 1, epochs: 3 }
    const out = join(folder, 'adaptive')
    const held = await heldAfter(async () => {
      const { backbone, projector } = await run({ engine: counting, out, changes, diagnosisShare: Infinity })
      for (const { dict } of [backbone, projector]) for (const v of dict.variables) gpu.release(v)
    })
    expect(compiled).toBe(1)
    expect(held).toEqual([])
    const lambdas = linesOf<Line & { lambda: number }>(out, 'metrics.jsonl').map(({ lambda }) => lambda)
    expect(lambdas.slice(0, 5).every((lambda) => lambda === Math.fround(0.05))).toBe(true)
    expect(new Set(lambdas).size).toBeGreaterThan(1)
  })
})

test('the seconds of a run do not include checkpoints and readings', async () => {
  const out = join(folder, 'clock')
  const gpu = await engine()
  let reading = 0
  // Makes reading Variables slow, which checkpoints do.
  const slow = Object.create(gpu, {
    read: {
      value: async (v: Parameters<typeof gpu.read>[0]) => {
        reading += 2
        await new Promise((resolve) => setTimeout(resolve, 2))
        return gpu.read(v)
      },
    },
  }) as typeof gpu
  const begun = performance.now()
  const { seconds } = await run({ engine: slow, out, changes: { checkpointEvery: 1, epochs: 2 } })
  const all = (performance.now() - begun) / 1000
  expect(reading).toBeGreaterThan(2 * 100)
  expect(seconds).toBeLessThan(all - reading / 1000)
})

describe('`onlineProbe` on images without labels', () => {
  const labels = Array.from({ length: 40 }, (_, i) => i % 4)
  const labelled = { ...colourfulImages(40), labels: Uint32Array.from(labels), classes: ['a', 'b', 'c', 'd'] }
  const held = { ...labelled, split: 'test' as const }
  const changes: PartialConfig = { onlineProbe: true, checkpointEvery: 1, epochs: 2 }

  test('reads nearest neighbours among labelled images, and trains no probe', async () => {
    const out = join(folder, 'unlabelled')
    const messages: string[] = []
    const bare = { ...dataset, split: 'unlabelled' as const }
    await run({
      ...{ out, changes, labelled, test: held, dataset: bare },
      onMessage: (line) => messages.push(line),
    })
    expect(messages).toContainEqual(
      '`onlineProbe`: the unlabelled images of own images have no labels: nearest neighbours are read among the train images at every checkpoint, and no linear probe is trained',
    )
    expect(linesOf(out, 'online.jsonl')).toMatchObject([
      { step: 5, epoch: 1, bank: 40, queries: 40, k: 20 },
      { step: 10, epoch: 2, bank: 40, queries: 40 },
    ])
    expect(linesOf(out, 'metrics.jsonl').some((line) => 'probeTop1' in line)).toBe(false)
  })

  test('is an error of one line if there are no labelled images', async () => {
    for (const others of [{}, { test: held }, { labelled: dataset, test: held }])
      await expect(run({ changes, ...others })).rejects.toThrow(
        /^`onlineProbe`: the images of own images \(train\) have no labels, and no labelled images are given: leave it out$/,
      )
  })
})

test('per-view batch-norm trains, and differs from joint', async () => {
  const joint = await run({ changes: { steps: 2 } })
  const perView = await run({ changes: { steps: 2, bn: 'per-view' } })
  expect(perView.losses.every(Number.isFinite)).toBe(true)
  expect(perView.losses).not.toEqual(joint.losses)
})

describe('views in chunks', () => {
  const changes: PartialConfig = { bn: 'per-view', views: 4, viewChunk: 2 }

  test('train like all views at once', async () => {
    const [whole, chunked] = [await run({ changes: { ...changes, viewChunk: undefined } }), await run({ changes })]
    expect(chunked.losses).toHaveLength(10)
    for (const [i, loss] of whole.losses.entries())
      expect(Math.abs(chunked.losses[i] - loss) / loss, `step ${i + 1}`).toBeLessThan(0.02)
    expect(chunked.peakBytes).toBeLessThan(whole.peakBytes)
  })

  test('resume bit for bit, with chunks of the same size', async () => {
    const [whole, parts] = [join(folder, 'chunked-whole'), join(folder, 'chunked-parts')]
    await run({ out: whole, changes })
    await run({ out: parts, changes: { ...changes, steps: 3 } })
    for (const viewChunk of [undefined, 1])
      await expect(run({ out: parts, resume: true, changes: { ...changes, viewChunk } })).rejects.toThrow(
        /has viewChunk 2, not (undefined|1): start another run/,
      )
    await run({ out: parts, resume: true, changes })
    expect(bytesOf(parts, 'state.safetensors').equals(bytesOf(whole, 'state.safetensors'))).toBe(true)
  })

  test('report compilation before the first step', async () => {
    const [heard, messages]: [string[], string[]] = [[], []]
    await run({
      changes: { ...changes, steps: 1 },
      onCompile: (done, total) => heard.push(`${done}/${total}`),
      onStep: () => heard.push('step'),
      onMessage: (line) => messages.push(line),
    })
    const total = heard.length - 2
    expect(heard).toEqual([...Array.from({ length: total + 1 }, (_, done) => `${done}/${total}`), 'step'])
    expect(messages).toContainEqual(
      expect.stringMatching(
        new RegExp(`^recorded in [\\d.]+ s: [\\d,]+ dispatches of ${total} kernels, \\d+ MiB beside the weights$`),
      ),
    )
  })
})

test('a run learns: the loss falls well below its start', async () => {
  const { losses } = await run({ changes: { epochs: 12, lr: 3e-3, views: 2 } })
  const average = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length
  expect(average(losses.slice(-10))).toBeLessThan(0.8 * average(losses.slice(0, 5)))
})
