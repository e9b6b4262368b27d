/** The parts of a loss: they add up to it, and asking for them changes no bit of the loss. */
import { describe, expect, test } from 'vitest'
import { input, scale, sliceRows, type Value } from '../../../engine/index.js'
import { Purpose, RandomStream } from '../../../engine/random.js'
import {
  objectives,
  type LossParts,
  type ObjectiveName,
  type ObjectiveOptions,
} from '../../../train/objectives/index.js'
import { engine } from '../../support/engine.js'

const stream = new RandomStream(5, Purpose.subset)
const numbers = (count: number): Float32Array =>
  Float32Array.from({ length: count }, () => stream.integer(2000) / 1000 - 1)

/** The loss, and with `collect` its parts. */
async function lossOf(
  name: ObjectiveName,
  options: ObjectiveOptions,
  data: { z: Float32Array; views: number; shape: number[] },
  collect: boolean,
  lambda?: number,
): Promise<Record<string, number>> {
  const z = input('z', data.shape)
  const changing: Record<string, Value> = lambda === undefined ? {} : { lambda: input('lambda', [1]) }
  const parts: LossParts = {}
  const loss = objectives[name].build(
    { projection: z, clean: scale(sliceRows(z, 0, data.shape[0] / data.views), 0.5) },
    data.views,
    { ...options, ...changing },
    collect ? parts : undefined,
  )
  const outputs: Record<string, Value> = { loss, ...(collect && parts) }
  const program = await (await engine()).compile({ label: name, outputs })
  try {
    await program.run({ z: data.z, ...(lambda !== undefined && { lambda: Float32Array.of(lambda) }) })
    const found = Object.keys(outputs).map(async (output) => [output, (await program.read(output))[0]] as const)
    return Object.fromEntries(await Promise.all(found))
  } finally {
    program.destroy()
  }
}

const constrained: [ObjectiveName, number[], string][] = [
  ['barlow-twins', [2, 3], 'lambda'],
  ['barlow-twins-leave-one-out', [2, 3], 'lambda'],
  ['barlow-twins-original', [2], 'lambda'],
  ['spectral', [2, 3], 'beta'],
]

describe.each(constrained)('%s', (name, views, weight) => {
  test.each(views.flatMap((m) => [5, 12].map((width) => [m, width])))('%i views, width %i', async (m, width) => {
    const shape = [m * 8, width]
    const data = { z: numbers(shape[0] * width), views: m, shape }
    const found = await lossOf(name, { [weight]: 0.3 }, data, true)
    const alone = await lossOf(name, { [weight]: 0.3 }, data, false)
    expect(Object.keys(found)).toEqual(['loss', 'invariance', 'orthogonality'])
    expect(found.loss).toBe(alone.loss)
    // Without the constraint only the invariance is left.
    const { loss: invariance } = await lossOf(name, { [weight]: 0 }, data, false)
    expect(found.invariance / invariance).toBeCloseTo(1, 5)
    expect((found.invariance + found.orthogonality) / found.loss).toBeCloseTo(1, 5)
  })
})

test('Barlow Twins with a λ that changes', async () => {
  for (const width of [5, 12]) {
    const data = { z: numbers(16 * width), views: 2, shape: [16, width] }
    const fixed = await lossOf('barlow-twins', { lambda: 0.3 }, data, true)
    const changing = await lossOf('barlow-twins', { lambda: 0.3 }, data, true, 0.3)
    for (const [part, value] of Object.entries(fixed)) expect(changing[part] / value).toBeCloseTo(1, 4)
  }
})

test('VICReg has three parts', async () => {
  const data = { z: numbers(24 * 6), views: 3, shape: [24, 6] }
  const found = await lossOf('vicreg-original', { lambda: 25, mu: 10 }, data, true)
  expect(found.loss).toBe((await lossOf('vicreg-original', { lambda: 25, mu: 10 }, data, false)).loss)
  const { loss: covariance } = await lossOf('vicreg-original', { lambda: 0, mu: 0 }, data, false)
  const { loss: withInvariance } = await lossOf('vicreg-original', { lambda: 25, mu: 0 }, data, false)
  expect(Object.keys(found)).toEqual(['loss', 'invariance', 'variance', 'covariance'])
  expect(found.covariance / covariance).toBeCloseTo(1, 5)
  expect(found.invariance / (withInvariance - covariance)).toBeCloseTo(1, 4)
  expect((found.invariance + found.variance + found.covariance) / found.loss).toBeCloseTo(1, 5)
})
