/** What a long run is judged by. The run itself is `npm run torture -- endurance`. */
import { expect, test } from 'vitest'
import { failuresOf, type Endured } from './endurance.js'
import { slopeOf, type Reading } from './readings.js'

const MIB = 2 ** 20
const at = (count: number, value: (i: number) => number): { step: number; value: number }[] =>
  Array.from({ length: count }, (_, i) => ({ step: 25 * (i + 1), value: value(i) }))

test('the slope of a line is exact, and noise without a trend has an interval around zero', () => {
  const line = slopeOf(at(200, (i) => 7 + 3 * 25 * (i + 1)))
  expect(line.perThousand).toBeCloseTo(3000, 6)
  expect(line.high - line.low).toBeLessThan(1e-6)
  const noise = slopeOf(at(200, (i) => 1000 * Math.sin(i * i)))
  expect(noise.low).toBeLessThan(0)
  expect(noise.high).toBeGreaterThan(0)
  expect(() => slopeOf(at(11, () => 0))).toThrow(/^slopeOf: 11 readings: needs at least 12$/)
})

/** A run of 5,000 steps. Its readings are those of a run that does not grow, plus the given changes. */
function run(change: (i: number) => Partial<Reading>, rest: Partial<Endured> = {}): Endured {
  const flat = { resident: 300 * MIB, heap: 50 * MIB, deviceBytes: 3 * MIB, deviceBuffers: 250, bindGroups: 0 }
  const readings = at(200, () => 0).map(({ step }, i) => ({
    ...{ step, ...flat, pipelines: 50, openFiles: 30 },
    // Garbage and checkpoints come and go.
    resident: flat.resident + ((i * 7919) % 13) * 1e5,
    deviceBytes: flat.deviceBytes + (i % 10 === 0 ? MIB : 0),
    ...change(i),
  }))
  const late = readings.filter(({ step }) => step >= 1000)
  const slope = (key: 'resident' | 'heap' | 'deviceBytes') =>
    slopeOf(late.map((reading) => ({ step: reading.step, value: reading[key] })))
  return {
    ...{ steps: 5000, seconds: 60, readings, exitSeconds: 0.1, resources: [], remains: [], failures: [] },
    slopes: { resident: slope('resident'), heap: slope('heap'), deviceBytes: slope('deviceBytes') },
    ...rest,
  }
}

test('a flat run has no failure, and each kind of growth has its own', () => {
  expect(failuresOf(run(() => ({})))).toEqual([])
  expect(failuresOf(run((i) => ({ resident: (300 + 0.1 * i) * MIB })))).toEqual([
    expect.stringMatching(/^resident grows by 4194304 bytes in 1,000 steps$/),
  ])
  expect(failuresOf(run((i) => ({ deviceBuffers: 250 + i })))).toEqual([
    expect.stringMatching(/^deviceBuffers grows from \d+/),
  ])
  expect(failuresOf(run(() => ({}), { resources: ['Timeout'] }))).toEqual(['at the exit there are Timeout'])
  expect(failuresOf(run(() => ({}), { remains: ['.lock'] }))).toEqual(['the run leaves .lock'])
  expect(failuresOf(run(() => ({}), { exitSeconds: 2.5 }))).toEqual(['the process ends 2.5 s after its last line'])
})
