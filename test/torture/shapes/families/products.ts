/** Convolutions and matrix products, by each of their variants. */
import fc from 'fast-check'
import type { Value } from '../../../../engine/index.js'
import { convVariants, weightGradientVariants } from '../../../../engine/ops/conv2d.js'
import { matmulVariants } from '../../../../engine/ops/products/matmul_variants.js'
import { draw, family, halves, numbers, size, within, type Case, type Family, type Given } from '../case.js'
import { ops } from '../ops.js'
import { convOf, expectedProduct, matmulOf, type Conditions, type Multiplications } from '../products.js'
import { winogradConditions } from '../winograd.js'

/** Most multiplications of a case: the reference computes each of them three times. */
const MOST = 1_500_000

/** A case of a product and its gradients. @param half which factors are stored as f16 */
function productCase(
  product: Multiplications,
  given: { a: Given; b: Given; bias?: Given; r: Given },
  build: (a: Value, b: Value, bias?: Value) => Value,
  half: { a: boolean; b: boolean },
  conditions?: () => Conditions,
): Case {
  const { a, b, bias, r } = given
  return {
    inputs: { a, b, ...(bias && { bias }) },
    graph: (v) => {
      const result = build(half.a ? ops.cast(v.a, 'f16') : v.a, half.b ? ops.cast(v.b, 'f16') : v.b, v.bias)
      const y = half.a ? ops.cast(result, 'f32') : result
      const targets = { a: v.a, b: v.b, ...(bias && { bias: v.bias }) }
      const found = ops.backward([[y, ops.constant(r.data as Float32Array, r.shape)]], Object.values(targets))
      return {
        outputs: { y, ...Object.fromEntries(Object.keys(targets).map((name, i) => [`gradient in ${name}`, found[i]])) },
      }
    },
    expected: () =>
      expectedProduct(
        product,
        { a: a.data, b: b.data, r: r.data, ...(bias && { bias: bias.data }) },
        { y: Number(half.a), a: Number(half.a), b: Number(half.b) },
        conditions?.(),
      ),
  }
}

const HALF_ONLY = /^matrix/

/** Where f16 may be drawn: matrix units multiply f16 only. */
const halvesFor = (variant: string): fc.Arbitrary<boolean> => (HALF_ONLY.test(variant) ? fc.constant(true) : halves)

type Kernels = { kernel: fc.Arbitrary<readonly number[]>; stride: fc.Arbitrary<number> }

/** Variants for 3×3 kernels of stride 1 get few others. */
const ONLY_3X3 = /winograd|rows/
const plainKernels: Kernels = {
  kernel: fc.oneof({ weight: 8, arbitrary: fc.constant([3, 3]) }, { weight: 1, arbitrary: fc.tuple(size(5), size(5)) }),
  stride: fc.constantFrom(1, 1, 1, 1, 2),
}
const anyKernels: Kernels = {
  kernel: fc.oneof(fc.constantFrom([1, 1], [3, 3], [7, 7]), fc.tuple(size(5), size(5))),
  stride: fc.constantFrom(1, 2, 3, 5),
}

/** By rows, lanes exchange pixels where some lanes hold a whole row; most widths are not such a row. */
const widthsFor = (variant: string): fc.Arbitrary<number> =>
  /rows/.test(variant) ? fc.oneof(size(67), fc.constantFrom(4, 8, 16, 32)) : size(67)

const conv = (variant: string): Family =>
  family({
    name: `conv2d by ${variant}`,
    variant,
    drawn: fc.record({
      n: size(5),
      height: size(33),
      width: widthsFor(variant),
      c: size(),
      o: size(),
      ...(ONLY_3X3.test(variant) ? plainKernels : anyKernels),
      padding: fc.constantFrom(0, 1, 1, 2, 3),
      bias: fc.boolean(),
      half: halvesFor(variant),
      numbers,
    }),
    half: ({ half }) => half,
    make: ({ n, height, width, c, o, kernel, stride, padding, bias, half, numbers: given }) => {
      const [kh, kw] = kernel
      const [h, w] = [Math.max(height, kh - 2 * padding), Math.max(width, kw - 2 * padding)]
      const images = within(4, n)
      const inner = within(MOST, c, kh * kw)
      const outer = within(MOST, o, kh * kw * inner)
      const pixels = Math.max(1, Math.floor(MOST / (kh * kw * inner * outer * images)))
      // Fewer rows, then fewer columns, until the case is small enough.
      const rows = Math.max(kh - 2 * padding, 1, Math.min(h, Math.floor(pixels / w)))
      const columns = Math.max(kw - 2 * padding, 1, Math.min(w, Math.ceil(pixels / rows)))
      const dims = [images, rows, columns, inner]
      const product = convOf(dims, [kh, kw, inner, outer], stride, padding)
      const data = {
        a: draw(given, 'x', dims, half),
        b: draw({ ...given, seed: given.seed + 1 }, 'w', product.b, half),
        r: draw({ ...given, kind: 'normal' }, 'r', product.y, half),
        ...(bias && { bias: draw(given, 'bias', [outer]) }),
      }
      const transformed = variant === 'winograd' && kh === 3 && kw === 3 && stride === 1
      return productCase(
        product,
        data,
        (x, weights, addend) => ops.conv2d(x, weights, { stride, padding, ...(addend && { bias: addend }) }),
        { a: half, b: false },
        transformed
          ? () => winogradConditions({ x: data.a.data, w: data.b.data, r: data.r.data }, dims, product.y, padding)
          : undefined,
      )
    },
  })

const matmul = (variant: string): Family =>
  family({
    name: `matmul by ${variant}`,
    variant,
    drawn: fc.record({
      batch: fc.option(size(5)),
      M: size(),
      N: size(),
      K: size(),
      transposeA: fc.boolean(),
      transposeB: fc.boolean(),
      bias: fc.boolean(),
      half: halvesFor(variant),
      halfB: fc.boolean(),
      numbers,
    }),
    half: ({ half }) => half,
    make: ({ batch, M, N, K, transposeA, transposeB, bias, half, halfB, numbers: given }) => {
      const sizes = { batch: within(MOST, batch ?? 1, M, N, K), M, N, K: within(MOST, K, M, N) }
      const product = matmulOf(sizes, { transposeA, transposeB, batched: batch !== null })
      return productCase(
        product,
        {
          a: draw(given, 'a', product.a, half),
          b: draw({ ...given, seed: given.seed + 1 }, 'b', product.b, half),
          r: draw({ ...given, kind: 'normal' }, 'r', product.y, half),
          ...(bias && { bias: draw(given, 'bias', [N]) }),
        },
        (a, b, addend) => ops.matmul(a, b, { transposeA, transposeB, ...(addend && { bias: addend }) }),
        { a: half, b: half && halfB },
      )
    },
  })

const namesOf = (...lists: readonly (readonly { readonly name: string }[])[]): string[] => [
  ...new Set(lists.flat().map(({ name }) => name)),
]

/** One family for each variant that the ops list. */
export const products: readonly Family[] = [
  ...namesOf(convVariants, weightGradientVariants).map(conv),
  ...namesOf(matmulVariants).map(matmul),
]
