/** Gradients averaged over micro-batches, against those of the whole batch. */
import { expect, test } from 'vitest'
import {
  gradientAccumulation,
  gradients,
  input,
  matmul,
  mean,
  square,
  subtract,
  variable,
  type Value,
} from '../../../engine/index.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'

const [ROWS, FROM, TO, PARTS] = [6, 5, 3, 3]

test.each([undefined, 256])('the mean over micro-batches is the batch gradient (loss scale %s)', async (lossScale) => {
  const gpu = await engine()
  const w = variable('w', [FROM, TO], formulaTensor('accumulation/w', [FROM, TO]))
  const b = variable('b', [TO], formulaTensor('accumulation/b', [TO]))
  const loss = (rows: number): Value =>
    mean(square(subtract(matmul(input('x', [rows, FROM]), w, { bias: b }), input('y', [rows, TO]))))
  const x = formulaTensor('accumulation/x', [PARTS * ROWS, FROM])
  const y = formulaTensor('accumulation/y', [PARTS * ROWS, TO])

  const [wholeW, wholeB] = gradients(loss(PARTS * ROWS), [w, b])
  const whole = await gpu.compile({ outputs: { w: wholeW, b: wholeB } })
  await whole.run({ x, y })

  const accumulation = gradientAccumulation([w, b], PARTS)
  const seed = accumulation.seed(lossScale ? input('loss scale', [1]) : undefined)
  const part = await gpu.compile({
    updates: accumulation.add(gradients(loss(ROWS), [w, b], seed), input('index', [1], 'u32')),
  })
  // The second round must start a new mean.
  for (let i = 0; i < 2 * PARTS; i++) {
    const at = i % PARTS
    await part.run({
      x: x.slice(at * ROWS * FROM, (at + 1) * ROWS * FROM),
      y: y.slice(at * ROWS * TO, (at + 1) * ROWS * TO),
      index: Uint32Array.of(at),
      ...(lossScale && { 'loss scale': Float32Array.of(lossScale) }),
    })
  }
  for (const [i, name] of ['w', 'b'].entries()) {
    const expected = (await whole.read(name)).map((v) => (lossScale ?? 1) * v)
    expectClose(name, await gpu.read(accumulation.mean[i]), expected, 1e-6)
  }
  whole.destroy()
  part.destroy()
  for (const v of [w, b, ...accumulation.mean]) gpu.release(v)
})

test('zero micro-batches are an error', () => {
  expect(() => gradientAccumulation([variable('w', [3])], 0)).toThrow(/gradientAccumulation: 0 micro-batches/)
})
