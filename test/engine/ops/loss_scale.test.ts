/** Dynamic loss scaling: which steps are skipped, when the scale grows, and that a skipped step changes nothing. */
import { describe, expect, test } from 'vitest'
import {
  adam,
  adamW,
  Arena,
  assign,
  batchNorm,
  cast,
  dynamicLossScale,
  gradients,
  input,
  multiply,
  relu,
  scale,
  sgd,
  sum,
  updateRunningStatistics,
  variable,
  type Optimizer,
  type Value,
  type Variable,
} from '../../../engine/index.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'

/** Sizes that are not whole vec4s, so that an arena has gaps; one has several segments. */
const shapes = { a: [3, 5], b: [130], c: [1], d: [3, 7, 17, 129] }
const names = Object.keys(shapes) as (keyof typeof shapes)[]
const size = (name: keyof typeof shapes): number => shapes[name].reduce((a, b) => a * b, 1)

interface Bench {
  /** Runs a step with these gradients of the unscaled loss, and returns the state [scale, clean, skipped] after it. */
  step(change?: (g: Record<string, Float32Array>) => void): Promise<number[]>
  /** All parameters and the optimiser's state. */
  everything(): Promise<Float32Array[]>
  close(): void
}

/** An optimiser on given gradients, which are multiplied by the scale, as those of a scaled loss are. */
async function bench(
  make: (parameters: Variable[]) => Optimizer,
  { arena = true, initial = 1024, interval = 3 } = {},
): Promise<Bench> {
  const gpu = await engine()
  const parameters = names.map((name) =>
    variable(name, shapes[name], formulaTensor(`loss scale/${name}`, shapes[name])),
  )
  if (arena) new Arena(parameters)
  const optimizer = make(parameters)
  const scaling = dynamicLossScale({ initial, interval })
  // The gradients' memory has infinities in it before. Those in the gaps must not count.
  const litter = sum(relu(input('litter', [80_000])))
  const scaled = names.map((name): Value => multiply(input(name, shapes[name]), scaling.seed))
  const judged = scaling.judge(scaled)
  const updates = [...optimizer.updates(scaled, input('rate', [1]), judged), judged.update]
  const program = await gpu.compile({ outputs: { litter }, updates })
  let count = 0
  return {
    async step(change) {
      count++
      const g = Object.fromEntries(names.map((name) => [name, formulaTensor(`${count}/${name}`, shapes[name])]))
      change?.(g)
      const litter = new Float32Array(80_000).fill(Infinity)
      await program.run({ ...g, litter, rate: Float32Array.of(0.1) })
      return [...(await gpu.read(scaling.state))]
    },
    everything: async () => {
      const read = []
      for (const v of [...parameters, ...optimizer.state]) read.push(await gpu.read(v))
      return read
    },
    close() {
      program.destroy()
      for (const v of [...parameters, ...optimizer.state, scaling.state]) gpu.release(v)
    },
  }
}

const overflows: [string, (g: Record<string, Float32Array>) => void][] = [
  ['an infinity at the end of the last', (g) => (g['d'][size('d') - 1] = Infinity)],
  ['a negative infinity in the only number of one', (g) => (g['c'][0] = -Infinity)],
  ['no number in the first', (g) => (g['a'][14] = NaN)],
  ['a finite gradient that the scale makes infinite', (g) => (g['b'][129] = 3e38)],
]

const optimizers: [string, (parameters: Variable[]) => Optimizer][] = [
  ['adam', (p) => adam(p, { weightDecay: 0.1 })],
  ['adamW', (p) => adamW(p)],
  ['sgd', (p) => sgd(p, { momentum: 0.9, weightDecay: 0.1 })],
]

describe.each(optimizers)('%s', (_, make) => {
  test.each([true, false])('skips a step whose gradients overflow, bit for bit (in an arena: %s)', async (arena) => {
    const it = await bench(make, { arena })
    expect(await it.step()).toEqual([1024, 1, 0])
    const before = await it.everything()
    let skipped = 0
    for (const [, overflow] of overflows) expect(await it.step(overflow)).toEqual([1024 / 2 ** ++skipped, 0, skipped])
    expect(await it.everything()).toEqual(before)
    expect(await it.step()).toEqual([64, 1, 4])
    expect(await it.everything()).not.toEqual(before)
    it.close()
  })

  test('gives the same steps as without a scale', async () => {
    const [with1024, with1] = [await bench(make), await bench(make, { initial: 1, interval: 1000 })]
    for (let i = 0; i < 3; i++) await Promise.all([with1024.step(), with1.step()])
    // Multiplication by a power of two is exact.
    expect(await with1024.everything()).toEqual(await with1.everything())
    with1024.close()
    with1.close()
  })

  test('gives the same steps as an optimiser that knows of no scale', async () => {
    const gpu = await engine()
    const parameters = names.map((name) =>
      variable(name, shapes[name], formulaTensor(`loss scale/${name}`, shapes[name])),
    )
    const optimizer = make(parameters)
    const given = names.map((name) => input(name, shapes[name]))
    const program = await gpu.compile({ updates: optimizer.updates(given, input('rate', [1])) })
    const scaled = await bench(make)
    for (let count = 1; count <= 3; count++) {
      const g = Object.fromEntries(names.map((name) => [name, formulaTensor(`${count}/${name}`, shapes[name])]))
      await Promise.all([program.run({ ...g, rate: Float32Array.of(0.1) }), scaled.step()])
    }
    const read = await scaled.everything()
    for (const [i, v] of [...parameters, ...optimizer.state].entries())
      expectClose(v.name, read[i], await gpu.read(v), 1e-6)
    scaled.close()
    program.destroy()
    for (const v of [...parameters, ...optimizer.state]) gpu.release(v)
  })
})

test('the scale doubles after `interval` steps without overflow', async () => {
  const it = await bench((p) => sgd(p))
  const [, overflow] = overflows[0]
  const seen = []
  for (const bad of [0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0]) seen.push(await it.step(bad ? overflow : undefined))
  expect(seen).toEqual([
    [1024, 1, 0],
    [1024, 2, 0],
    [2048, 0, 0],
    [2048, 1, 0],
    [1024, 0, 1],
    [1024, 1, 1],
    [1024, 2, 1],
    [512, 0, 2],
    [512, 1, 2],
    [512, 2, 2],
    [1024, 0, 2],
  ])
  it.close()
})

test('by default it starts at 65536 and doubles after 2000 steps', async () => {
  const gpu = await engine()
  const scaling = dynamicLossScale()
  const { update } = scaling.judge([input('g', [1])])
  const program = await gpu.compile({ updates: [update] })
  for (let i = 0; i < 2000; i++) await program.run({ g: Float32Array.of(1) })
  expect([...(await gpu.read(scaling.state))]).toEqual([131072, 0, 0])
  program.destroy()
  gpu.release(scaling.state)
})

test('gradients larger than a binding, or than a grid, are checked in parts', async () => {
  const gpu = await engine()
  const g = ['g0', 'g1', 'g2'].map((name) => input(name, [70_000]))
  for (const limits of [{ maxBindingBytes: 2 ** 17 }, { maxWorkgroupsPerDimension: 3 }]) {
    const scaling = dynamicLossScale()
    const { next } = scaling.judge(g.map((v) => scale(v, 1)))
    // In the plan for the small adapter, each segment is checked once, by a dispatch that can bind it.
    const small = Object.create(gpu, { target: { value: { ...gpu.target, ...limits } } }) as typeof gpu
    const looks = small.plan({ outputs: { next } }).dispatches.filter(({ kernel }) => kernel === 'finite')
    expect(looks.reduce((n, { workgroups }) => n + workgroups[0], 0)).toBe(15)
    expect(looks.length).toBeGreaterThan(4)
    const limit = small.target.maxBindingBytes
    for (const { bindings } of looks) {
      expect(bindings[0].bytes).toBeLessThanOrEqual(limit)
      expect(bindings[0].offset % 256).toBe(0)
    }
  }
})

test('statistics that are not finite leave the running statistics unchanged', async () => {
  const gpu = await engine()
  const running = { mean: variable('mean', [4]), variance: variable('variance', [4], new Float32Array(4).fill(1)) }
  const x = input('x', [6, 4])
  const ones = variable('ones', [4], new Float32Array(4).fill(1))
  const program = await gpu.compile({ updates: updateRunningStatistics(running, batchNorm(x, ones, ones), 6) })
  const data = formulaTensor('running/x', [6, 4])
  data[5] = Infinity
  await program.run({ x: data })
  const [mean, variance] = [await gpu.read(running.mean), await gpu.read(running.variance)]
  expect([mean[1], variance[1]]).toEqual([0, 1])
  for (const c of [0, 2, 3]) expect([mean[c] === 0, variance[c] === 1]).toEqual([false, false])
  program.destroy()
  for (const v of [running.mean, running.variance, ones]) gpu.release(v)
})

describe.skipIf(!(await engine()).target.f16)('with f16', () => {
  test('the scale decreases until the gradients fit, and then the weights change', async () => {
    const gpu = await engine()
    const w = variable('w', [8], new Float32Array(8).fill(1))
    const scaling = dynamicLossScale()
    const loss = sum(multiply(cast(cast(multiply(w, input('x', [8])), 'f16'), 'f32'), input('weight', [8])))
    const scaled = gradients(loss, [w], scaling.seed)
    const judged = scaling.judge(scaled)
    const seen = variable('seen', [3])
    const program = await gpu.compile({
      updates: [...sgd([w]).updates(scaled, input('rate', [1]), judged), judged.update, assign(seen, judged.next)],
    })
    const data = { x: new Float32Array(8).fill(0.5), weight: new Float32Array(8).fill(10), rate: Float32Array.of(1) }
    // 10 · 65536 overflows in f16. So do its halves, down to 10 · 4096, which fits.
    for (let skipped = 1; skipped <= 4; skipped++) {
      await program.run(data)
      expect([...(await gpu.read(seen))]).toEqual([65536 / 2 ** skipped, 0, skipped])
      expect([...(await gpu.read(w))]).toEqual(new Array(8).fill(1))
    }
    await program.run(data)
    expect([...(await gpu.read(scaling.state))]).toEqual([4096, 1, 4])
    expect([...(await gpu.read(w))]).toEqual(new Array(8).fill(-4))
    program.destroy()
    for (const v of [w, seen, scaling.state]) gpu.release(v)
  })
})

test.each([0, 7, 8, 31, 40])('an overflow in tensor %i of 41 is found, whichever thread reads it', async (which) => {
  const gpu = await engine()
  const scaling = dynamicLossScale({ initial: 4 })
  const values = Array.from({ length: 41 }, (_, k) => input(`gradient ${k}`, [3]))
  const program = await gpu.compile({ updates: [scaling.judge(values).update] })
  await program.run(
    Object.fromEntries(values.map((_, k) => [`gradient ${k}`, Float32Array.of(1, 2, k === which ? Infinity : 3)])),
  )
  expect([...(await gpu.read(scaling.state))]).toEqual([2, 0, 1])
  program.destroy()
  gpu.release(scaling.state)
})
