/** Products by one given variant, and which variants were used. */
import { convVariants, weightGradientVariants } from '../../../engine/ops/conv2d.js'
import { matmulVariants } from '../../../engine/ops/products/matmul_variants.js'
import type { Variant } from '../../../engine/ops/products/work.js'

/** A variant of some work, with its functions in reach. */
type Reachable = { -readonly [K in keyof Variant<never>]: Variant<never>[K] }

const lists: readonly { op: 'conv2d' | 'matmul'; product: string; variants: readonly Reachable[] }[] = [
  { op: 'conv2d', product: 'conv2d', variants: convVariants as readonly Reachable[] },
  { op: 'conv2d', product: 'weight gradient', variants: weightGradientVariants as readonly Reachable[] },
  { op: 'matmul', product: 'matmul', variants: matmulVariants as readonly Reachable[] },
]

/** All variants of all products: `conv2d by winograd`, `weight gradient by winograd`, … */
export const allVariants: readonly string[] = lists.flatMap(({ product, variants }) =>
  variants.map(({ name }) => `${product} by ${name}`),
)

/** The kernel of a tile, such as `tiled` of `tiled 64×64`, or the whole name of another variant. */
const kernelOf = (name: string): string => name.replace(/ \d+×\d+$/, '')

/**
 * Runs `work`. Meanwhile one variant computes all products of `op` that it can compute, and the plain variant,
 * `register`, computes the others.
 *
 * @param only the op and the variant; without it the cost model chooses as usual
 * @param onUse called with each variant that is lowered
 */
export async function forced<T>(
  only: { op: string; variant: string } | undefined,
  onUse: (variant: string) => void,
  work: () => Promise<T>,
): Promise<T> {
  const before = lists.flatMap(({ variants }) =>
    variants.map((v) => ({ v, serves: v.serves, cost: v.cost, lower: v.lower })),
  )
  try {
    for (const { op, product, variants } of lists) {
      const originals = variants.map(({ name, serves }) => ({ kernel: kernelOf(name), serves }))
      for (const variant of variants) {
        const { name, lower } = variant
        variant.lower = (...args) => {
          onUse(`${product} by ${name}`)
          lower(...args)
        }
        if (op !== only?.op || name === 'register') continue
        // A tile can compute what any tile of its kernel can: which tiles are worth trying is only a matter of speed.
        const kin = originals.filter(({ kernel }) => kernel === kernelOf(name))
        variant.serves = (...args) => name === only.variant && kin.some(({ serves }) => serves(...args))
        variant.cost = () => 0
      }
    }
    return await work()
  } finally {
    for (const { v, ...functions } of before) Object.assign(v, functions)
  }
}
