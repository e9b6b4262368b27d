/** Long programs are submitted in pieces: with the same bits, in the order of the runs, while the process can listen. */
import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  add,
  affine,
  assign,
  gradients,
  input,
  matmul,
  mean,
  sgd,
  square,
  variable,
  type Target,
} from '../../engine/index.js'
import { Pieces } from '../../engine/pieces.js'
import { engine, engineFor } from '../support/engine.js'
import { formulaTensor } from '../support/formula.js'

afterEach(() => {
  vi.restoreAllMocks()
})

/** An engine on which each dispatch is a submission of its own. */
const inPieces = () => engineFor({}).then((gpu) => Object.defineProperty(gpu, 'piece', { value: 0 }))

async function trained(gpu: Awaited<ReturnType<typeof engine>>) {
  const submit = vi.spyOn(gpu.submissions, 'submit')
  const w = variable('w', [64, 64], () => formulaTensor('pieces/w', [64, 64]))
  const loss = mean(square(matmul(input('x', [32, 64]), w)))
  const program = await gpu.compile({
    outputs: { loss },
    updates: sgd([w]).updates(gradients(loss, [w]), input('rate', [1])),
  })
  const losses: number[] = []
  for (let step = 0; step < 3; step++) {
    await program.run({ x: formulaTensor(`pieces/x${step}`, [32, 64]), rate: Float32Array.of(0.1) })
    losses.push(...(await program.read('loss')))
  }
  const result = { losses, w: await gpu.read(w), dispatches: program.dispatches, submissions: submit.mock.calls.length }
  program.destroy()
  gpu.release(w)
  submit.mockRestore()
  return result
}

describe('submission in pieces', () => {
  test('gives the bits of a single submission', async () => {
    const whole = await trained(await engine())
    const cut = await trained(await inPieces())
    expect(whole.submissions).toBe(3)
    expect(cut.submissions).toBe(3 * cut.dispatches)
    expect(cut.losses).toEqual(whole.losses)
    expect(cut.w).toEqual(whole.w)
  })

  test('does not mix the runs of programs, nor their inputs', async () => {
    const gpu = await inPieces()
    const digits = variable('digits', [1])
    // Each program reads its input, and the memory that both share, in several dispatches.
    const spec = (label: string) => {
      const x = input('x', [1])
      const y = affine(affine(affine(digits, 2, 0), 5, 0), 1, 1)
      return { label, updates: [assign(digits, add(affine(add(y, x), 1, -1), affine(x, 0, 0)))] }
    }
    const [a, b] = await gpu.compileTogether([spec('a'), spec('b')])
    expect(a.dispatches).toBeGreaterThan(4)
    await Promise.all([1, 2, 3, 4, 5, 6].map((digit) => (digit % 2 ? a : b).run({ x: Float32Array.of(digit) })))
    expect([...(await gpu.read(digits))]).toEqual([123456])
    a.destroy()
    b.destroy()
  })

  test('a read waits for the last piece', async () => {
    const gpu = await inPieces()
    const [u, v] = ['u', 'v'].map((name) => variable(name, [1]))
    const program = await gpu.compile({ updates: [u, v].map((x) => assign(x, affine(affine(x, 1, 2), 1, -1))) })
    const run = program.run()
    expect([...(await gpu.read(u)), ...(await gpu.read(v))]).toEqual([1, 1])
    await run
    program.destroy()
  })

  test('lets the event loop turn, and has at most two submissions in flight', async () => {
    const gpu = await inPieces()
    let y = affine(input('x', [4]), 1, 1)
    for (let i = 0; i < 40; i++) y = affine(y, 1, 1)
    const program = await gpu.compile({ outputs: { y } })
    let [turns, running, inFlight, most] = [0, true, 0, 0]
    const count = (): void => {
      turns++
      if (running) setImmediate(count)
    }
    setImmediate(count)
    const submit = gpu.submissions.submit.bind(gpu.submissions)
    vi.spyOn(gpu.submissions, 'submit').mockImplementation((commands) => {
      most = Math.max(most, ++inFlight)
      return submit(commands).finally(() => inFlight--)
    })
    await program.run({ x: new Float32Array(4) })
    running = false
    expect([...(await program.read('y'))]).toEqual([41, 41, 41, 41])
    expect(turns).toBeGreaterThan(10)
    expect(most).toBeLessThanOrEqual(2)
    program.destroy()
  })
})

describe('the cut', () => {
  const dispatch = { kernel: 'k', constants: {}, params: new Uint32Array(), workgroups: [1, 1, 1], op: 'op' } as const
  const target = { adapterClass: 'cpu' } as Target

  /** 100 dispatches of 28 MFLOP: 1 ms each at the rate of the cost model. */
  const pieces = () =>
    new Pieces(
      Array.from({ length: 100 }, () => ({ ...dispatch, bindings: [], flops: 28e6 })),
      target,
    )
  const lengths = (p: Pieces): number[] => p.cut(0.1).map(({ first, last }) => last - first)

  test('is cautious before anything is measured', () => {
    expect(Math.max(...lengths(pieces()))).toBe(12)
    expect(lengths(pieces()).reduce((a, b) => a + b)).toBe(100)
  })

  test('follows the measured times: one piece on a fast adapter, many on a slow one', () => {
    const [fast, slow] = [pieces(), pieces()]
    const cut = fast.cut(0.1)
    fast.learn(
      cut,
      cut.map(() => 0.001),
    )
    expect(lengths(fast)).toEqual([100])
    slow.learn(
      cut,
      cut.map(({ first, last }) => 0.02 * (last - first)),
    )
    expect(Math.max(...lengths(slow))).toBe(5)
  })

  test('cuts where the time is spent', () => {
    const p = pieces()
    for (let run = 0; run < 10; run++) {
      const cut = p.cut(0.1)
      // The second half takes nine times as long as the first.
      p.learn(
        cut,
        cut.map(({ first, last }) => {
          let seconds = 0
          for (let i = first; i < last; i++) seconds += i < 50 ? 0.002 : 0.018
          return seconds
        }),
      )
    }
    const cut = p.cut(0.1)
    expect(cut[0].last).toBeGreaterThan(35)
    expect(cut.at(-1)!.last - cut.at(-1)!.first).toBeLessThan(8)
  })

  test('ignores a clock that stands still', () => {
    const p = pieces()
    const cut = p.cut(0.1)
    p.learn(
      cut,
      cut.map(() => 0),
    )
    expect(lengths(p)).toEqual(lengths(pieces()))
  })
})
