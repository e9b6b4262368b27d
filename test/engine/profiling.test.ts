import { expect, test } from 'vitest'
import { adam, gradients, input, matmul, relu, sum, variable, type Engine } from '../../engine/index.js'
import { profile, traceEvents } from '../../engine/profiling.js'
import { engine } from '../support/engine.js'

/** y = relu(x·w), and one Adam update of w. */
async function program(engine: Engine) {
  const x = input('x', [8, 4])
  const w = variable(
    'w',
    [4, 8],
    Float32Array.from({ length: 32 }, (_, i) => Math.sin(i)),
  )
  const y = relu(matmul(x, w))
  const optimizer = adam([w])
  const updates = optimizer.updates(gradients(sum(y), [w]), input('rate', [1]))
  const compiled = await engine.compile({ label: 'tiny', outputs: { y }, updates })
  return { compiled, w }
}

const inputs = () => ({
  x: Float32Array.from({ length: 32 }, (_, i) => Math.cos(i)),
  rate: new Float32Array([0.01]),
})

test('each dispatch is timed, and the program runs once for each round', async () => {
  const gpu = await engine()
  const { compiled, w } = await program(gpu)
  const other = await program(gpu)
  const measured = await profile(compiled, inputs(), { rounds: 3 })
  expect(measured.method).toBe(gpu.device.features.has('timestamp-query') ? 'timestamps' : 'submissions')
  expect(measured.dispatches.map(({ op, kernel }) => [op, kernel])).toEqual(
    compiled.plan.dispatches.map(({ op, kernel }) => [op, kernel]),
  )
  expect(measured.dispatches.length).toBe(compiled.dispatches)
  let end = 0
  for (const { microseconds, start, duration, bytes } of measured.dispatches) {
    expect(microseconds).toBeGreaterThanOrEqual(0)
    expect(duration).toBeGreaterThanOrEqual(0)
    expect(bytes).toBeGreaterThan(0)
    expect(start).toBeGreaterThanOrEqual(end - 1)
    end = start
  }
  // One warm-up and three rounds are four runs.
  for (let i = 0; i < 4; i++) await other.compiled.run(inputs())
  expect(await gpu.read(w)).toEqual(await gpu.read(other.w))
  expect(await compiled.read('y')).toEqual(await other.compiled.read('y'))
  compiled.destroy()
  other.compiled.destroy()
})

test('without timestamps each dispatch is submitted alone, and the results are the same', async () => {
  const gpu = await engine()
  const { compiled } = await program(gpu)
  const other = await program(gpu)
  const features = Object.getOwnPropertyDescriptor(gpu.device, 'features')
  Object.defineProperty(gpu.device, 'features', { value: new Set(), configurable: true })
  let measured
  try {
    measured = await profile(compiled, inputs(), { rounds: 1 })
  } finally {
    if (features) Object.defineProperty(gpu.device, 'features', features)
    else delete (gpu.device as unknown as Record<string, unknown>).features
  }
  expect(measured.method).toBe('submissions')
  expect(measured.dispatches.every(({ duration }) => duration > 0)).toBe(true)
  for (let i = 0; i < 2; i++) await other.compiled.run(inputs())
  expect(await compiled.read('y')).toEqual(await other.compiled.read('y'))
  compiled.destroy()
  other.compiled.destroy()
})

test('a trace has one complete event for each dispatch, in order', async () => {
  const gpu = await engine()
  const { compiled } = await program(gpu)
  const measured = await profile(compiled, inputs(), { rounds: 1 })
  const trace = JSON.parse(JSON.stringify(traceEvents(measured))) as ReturnType<typeof traceEvents>
  expect(trace.traceEvents.length).toBe(compiled.dispatches)
  expect(trace.traceEvents[0]).toMatchObject({ ph: 'X', ts: 0, name: measured.dispatches[0].op })
  expect(trace.traceEvents.map(({ cat }) => cat)).toEqual(measured.dispatches.map(({ kernel }) => kernel))
  expect(trace.otherData).toEqual({ program: 'tiny', clock: measured.method })
  compiled.destroy()
})

test('rounds must be a whole number of at least 1', async () => {
  const { compiled } = await program(await engine())
  await expect(profile(compiled, inputs(), { rounds: 0 })).rejects.toThrow('rounds 0 must be a whole number')
  compiled.destroy()
})
