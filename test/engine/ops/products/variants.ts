/** Products computed by one given variant, on an adapter that is treated as a GPU, and compared with f64. */
import { vi } from 'vitest'
import {
  cast,
  conv2d,
  Engine,
  gradients,
  input,
  matmul,
  multiply,
  sum,
  type Target,
  type Value,
} from '../../../../engine/index.js'
import { kernelTexts } from '../../../../engine/kernel_texts.js'
import { winogradConv, winogradWeightGradient } from '../../../../engine/ops/products/winograd.js'
import type { Variant } from '../../../../engine/ops/products/work.js'
import { expectClose } from '../../../support/check.js'
import { engine } from '../../../support/engine.js'
import { formulaTensor } from '../../../support/formula.js'
import { guard } from '../../../support/guards.js'
import * as reference from '../../../support/reference/index.js'
import { tensor64, type Tensor64 } from '../../../support/reference/index.js'
import { emulated } from './emulated_matrices.js'

/**
 * Makes the variant of this name serve all work at no cost, and the others in `files` and Winograd none. The caller
 * undoes it after each test with `vi.restoreAllMocks`.
 */
export function only(name: string, ...files: readonly (readonly Variant<never>[])[]): void {
  for (const variant of files.flat()) {
    vi.spyOn(variant, 'serves').mockReturnValue(variant.name === name)
    vi.spyOn(variant, 'cost').mockReturnValue(0)
  }
  for (const variant of [winogradConv, winogradWeightGradient]) vi.spyOn(variant, 'serves').mockReturnValue(false)
}

const engines = new Map<string, Engine>()

/** The kernels, with matrix units emulated unless the adapter has them. */
function kernels(emulate: boolean): Record<string, string> {
  const texts = { ...kernelTexts }
  if (!emulate) return texts
  for (const name of ['conv2d_matrix', 'conv2d_weight_gradient_matrix']) texts[name] = emulated(texts[name])
  return texts
}

/**
 * An engine on the tests' device that treats it as a GPU. There is one for each target, so that pipelines are reused.
 */
export async function gpuEngine(target: Partial<Target> = {}): Promise<Engine> {
  const own = await engine()
  const key = JSON.stringify(target)
  let gpu = engines.get(key)
  if (!gpu) {
    gpu = guard(new Engine(own.device, own.info, kernels(!own.target.subgroupMatrix)))
    Object.assign(gpu, { target: { ...own.target, adapterClass: 'gpu', ...target } })
    engines.set(key, gpu)
  }
  return gpu
}

export interface ConvCase {
  x: number[]
  w: number[]
  stride: number
  padding: number
  bias?: boolean
}

export interface MatmulCase {
  a: number[]
  b: number[]
  transposeA?: boolean
  transposeB?: boolean
  bias?: boolean
}

/** y, dx and dw of sum(y · r), by loops over the definition. */
function expectedConv(
  x: Tensor64,
  w: Tensor64,
  bias: Tensor64 | undefined,
  r: Float32Array,
  { stride, padding }: ConvCase,
) {
  const y = reference.conv2d(x, w, { stride, padding, bias })
  const [dx, dw] = [tensor64(x.shape), tensor64(w.shape)]
  const [, height, width, c] = x.shape
  const [kh, kw, , o] = w.shape
  const [images, outHeight, outWidth] = y.shape
  for (let n = 0; n < images; n++)
    for (let i = 0; i < outHeight; i++)
      for (let j = 0; j < outWidth; j++)
        for (let ky = 0; ky < kh; ky++)
          for (let kx = 0; kx < kw; kx++) {
            const [row, column] = [i * stride + ky - padding, j * stride + kx - padding]
            if (row < 0 || row >= height || column < 0 || column >= width) continue
            for (let p = 0; p < c; p++)
              for (let q = 0; q < o; q++) {
                const at = ((n * height + row) * width + column) * c + p
                const weight = ((ky * kw + kx) * c + p) * o + q
                const g = r[((n * outHeight + i) * outWidth + j) * o + q]
                dx.data[at] += g * w.data[weight]
                dw.data[weight] += g * x.data[at]
              }
          }
  return { y, dx, dw }
}

/** The nearest numbers that are exact in f16, so that only the rounding of a kernel itself matters. */
const halves = (values: Float32Array): Float32Array =>
  values.map((v) => {
    const ulp = 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(v) || 1))) - 10)
    return Math.round(v / ulp) * ulp
  })

async function run(
  target: Partial<Target>,
  outputs: Record<string, Value>,
  given: Record<string, Float32Array>,
): Promise<Record<string, Float32Array>> {
  const program = await (await gpuEngine(target)).compile({ outputs })
  try {
    await program.run(given)
    const read: Record<string, Float32Array> = {}
    for (const name of Object.keys(outputs)) read[name] = await program.read(name)
    return read
  } finally {
    program.destroy()
  }
}

/** Compares y, dx and dw of a convolution with f64. */
export async function checkConv(
  given: ConvCase,
  dtype: 'f32' | 'f16' = 'f32',
  target: Partial<Target> = {},
): Promise<void> {
  const name = JSON.stringify(given)
  const [x, w] = [formulaTensor(`${name}/x`, given.x), formulaTensor(`${name}/w`, given.w)].map(halves)
  const bias = given.bias ? formulaTensor(`${name}/bias`, [given.w[3]]) : undefined
  const [vx, vw, vb] = [input('x', given.x), input('w', given.w), bias && input('bias', [given.w[3]])]
  const y = cast(conv2d(cast(vx, dtype), vw, { ...given, bias: vb }), 'f32')
  const r = halves(formulaTensor(`${name}/r`, y.shape))
  const [dx, dw] = gradients(sum(multiply(y, input('r', y.shape))), [vx, vw])
  const read = await run(target, { y, dx, dw }, { x, w, r, ...(bias && { bias }) })
  const expected = expectedConv(
    tensor64(given.x, x),
    tensor64(given.w, w),
    bias && tensor64([given.w[3]], bias),
    r,
    given,
  )
  for (const key of ['y', 'dx', 'dw'] as const)
    expectClose(key, read[key], expected[key].data, dtype === 'f16' ? 2e-3 : 1e-5)
}

/** Compares a product and its gradients with f64. */
export async function checkMatmul(
  given: MatmulCase,
  dtype: 'f32' | 'f16' = 'f32',
  target: Partial<Target> = {},
): Promise<void> {
  const name = JSON.stringify(given)
  const { transposeA = false, transposeB = false } = given
  const columns = given.b[given.b.length - (transposeB ? 2 : 1)]
  const [a, b] = [formulaTensor(`${name}/a`, given.a), formulaTensor(`${name}/b`, given.b)].map(halves)
  const bias = given.bias ? formulaTensor(`${name}/bias`, [columns]) : undefined
  const [va, vb, vbias] = [input('a', given.a), input('b', given.b), bias && input('bias', [columns])]
  const y = cast(matmul(cast(va, dtype), cast(vb, dtype), { transposeA, transposeB, bias: vbias }), 'f32')
  const r = halves(formulaTensor(`${name}/r`, y.shape))
  const [da, db] = gradients(sum(multiply(y, input('r', y.shape))), [va, vb])
  const read = await run(target, { y, da, db }, { a, b, r, ...(bias && { bias }) })
  const [ta, tb, tr] = [tensor64(given.a, a), tensor64(given.b, b), tensor64(y.shape, r)]
  const expected = {
    y: reference.matmul(ta, tb, { transposeA, transposeB, bias: bias && tensor64([columns], bias) }),
    da: transposeA
      ? reference.matmul(tb, tr, { transposeA: transposeB, transposeB: true })
      : reference.matmul(tr, tb, { transposeB: !transposeB }),
    db: transposeB
      ? reference.matmul(tr, ta, { transposeA: true, transposeB: transposeA })
      : reference.matmul(ta, tr, { transposeA: !transposeA }),
  }
  for (const key of ['y', 'da', 'db'] as const)
    expectClose(key, read[key], expected[key].data, dtype === 'f16' ? 2e-3 : 1e-5)
}
