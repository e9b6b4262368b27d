/** The peers' cases, this engine as a peer, and the protocol of the processes. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  contests,
  flopsOf,
  inputsOf,
  nameOf,
  outputSide,
  type ConvCase,
  type Direction,
  type Tensors,
} from '../../../bench/speed/peers/cases.js'
import { ourPeer } from '../../../bench/speed/peers/ours.js'
import { permute } from '../../../bench/speed/peers/peer.js'
import { PeerProcess } from '../../../bench/speed/peers/process.js'
import { engine } from '../../support/engine.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bench-peers-test-'))
})
afterAll(() => rm(folder, { recursive: true }))

const tensorsOf = (c: Parameters<typeof inputsOf>[0]): Tensors =>
  Object.fromEntries(Object.entries(inputsOf(c)).map(([name, { data }]) => [name, data as Float32Array]))

/** A 3×3 convolution with padding 1 or one of its gradients, in f64, by the definition. */
function convolve({ shape: [n, h, w, from, to, stride], direction }: ConvCase, { x, w: k, dy }: Tensors): number[] {
  const [outH, outW] = [outputSide(h, stride), outputSide(w, stride)]
  const sizes = { forward: n * outH * outW * to, 'input gradient': x.length, 'weight gradient': k.length }
  const out = new Array<number>(sizes[direction]).fill(0)
  for (let image = 0; image < n; image++)
    for (let i = 0; i < outH; i++)
      for (let j = 0; j < outW; j++)
        for (let tap = 0; tap < 9; tap++) {
          const [row, column] = [i * stride + Math.floor(tap / 3) - 1, j * stride + (tap % 3) - 1]
          if (row < 0 || row >= h || column < 0 || column >= w) continue
          for (let c = 0; c < from; c++)
            for (let o = 0; o < to; o++) {
              const [at, weight] = [((image * h + row) * w + column) * from + c, (tap * from + c) * to + o]
              const result = ((image * outH + i) * outW + j) * to + o
              if (direction === 'forward') out[result] += x[at] * k[weight]
              else if (direction === 'input gradient') out[at] += dy[result] * k[weight]
              else out[weight] += dy[result] * x[at]
            }
        }
  return out
}

test.each(['forward', 'input gradient', 'weight gradient'] as Direction[])(
  'this engine computes a convolution case correctly: %s',
  async (direction) => {
    const c: ConvCase = { kind: 'conv', direction, shape: [2, 5, 6, 4, 8, 2] }
    const inputs = tensorsOf(c)
    const prepared = await ourPeer(await engine()).prepare(c, inputs)
    await prepared.run(2)
    const [result] = Object.values(await prepared.result())
    prepared.release()
    const truth = convolve(c, inputs)
    expect(result.length).toBe(truth.length)
    truth.forEach((value, i) => expect(Math.abs(result[i] - value)).toBeLessThan(1e-4))
  },
)

test('this engine’s step returns a finite loss that falls, and the gradient of the stem in OIHW', async () => {
  const c = { kind: 'step', width: 4, batch: 4, pixels: 8, precision: 'f32' } as const
  const prepared = await ourPeer(await engine()).prepare(c, tensorsOf(c))
  const { loss, 'conv1.weight gradient': gradient } = await prepared.result()
  await prepared.run(1)
  prepared.release()
  expect(loss[1]).toBeLessThan(loss[0])
  expect(gradient.length).toBe(4 * 3 * 3 * 3)
  expect(gradient.every(Number.isFinite)).toBe(true)
})

test('permute reorders the dimensions of a tensor', () => {
  // [2, 3] → [3, 2], then NHWC [1, 1, 2, 2] → NCHW.
  expect([...permute(new Float32Array([1, 2, 3, 4, 5, 6]), [2, 3], [1, 0])]).toEqual([1, 4, 2, 5, 3, 6])
  expect([...permute(new Float32Array([1, 2, 3, 4]), [1, 1, 2, 2], [0, 3, 1, 2])]).toEqual([1, 3, 2, 4])
})

test('operations are counted by the definition, and cases have distinct names', () => {
  expect(flopsOf({ kind: 'matmul', size: 4 })).toBe(128)
  expect(flopsOf({ kind: 'conv', direction: 'forward', shape: [1, 4, 4, 2, 3, 2] })).toBe(2 * 2 * 2 * 9 * 2 * 3)
  // A ResNet-18 at width 64 needs 0.556 G multiply-adds for a 32 px image (He et al.: 1.8 G at 224 px); a step three times that.
  const step = flopsOf({ kind: 'step', width: 64, batch: 1, pixels: 32, precision: 'f32' }) / 2 / 2 / 3
  expect(step / 1e9).toBeCloseTo(0.556, 2)
  const names = contests('gpu', { f16: true }).map(({ case: c }) => nameOf(c))
  expect(new Set(names).size).toBe(names.length)
  const onCpu = contests('cpu').map(({ case: c }) => nameOf(c))
  expect(names).toEqual(expect.arrayContaining(onCpu))
  const quick = contests('cpu', { quick: true }).map(({ case: c }) => nameOf(c))
  expect(onCpu).toEqual(expect.arrayContaining(quick))
  expect(onCpu.length - quick.length).toBe(3)
})

/** A minimal peer that speaks the protocol. */
const script = `
import { createInterface } from 'node:readline'
console.log('output of a library')
console.log('@' + JSON.stringify({ name: 'fake', version: '1', device: 'none' }))
for await (const line of createInterface({ input: process.stdin })) {
  const { times } = JSON.parse(line)
  if (times === 1) console.log('@{"seconds":0.5}')
  if (times === 2) { console.error('crashed'); process.exit(1) }
  if (times === 3) console.log('@{"error":"failed"}')
}`

test('a peer that fails, ends or hangs loses its request and is restarted', async () => {
  const file = join(folder, 'fake.mjs')
  await writeFile(file, script)
  const peer = new PeerProcess({ command: process.execPath, args: [file] })
  try {
    expect(await peer.hello()).toEqual({ name: 'fake', version: '1', device: 'none' })
    expect(await peer.ask({ do: 'run', times: 1 }, 10)).toEqual({ seconds: 0.5 })
    await expect(peer.ask({ do: 'run', times: 3 }, 10)).rejects.toThrow('failed')
    expect(peer.running).toBe(true)
    await expect(peer.ask({ do: 'run', times: 2 }, 10)).rejects.toThrow('running it ended its process: crashed')
    expect(await peer.ask({ do: 'run', times: 1 }, 10)).toEqual({ seconds: 0.5 })
    await expect(peer.ask({ do: 'run', times: 4 }, 0.2)).rejects.toThrow('running it took over 0.2 s')
    expect(peer.running).toBe(false)
    expect(await peer.ask({ do: 'run', times: 1 }, 10)).toEqual({ seconds: 0.5 })
  } finally {
    peer.close()
  }
})
