/** The ways to compute a matrix product, in the order that the shipped table prefers. */
import { matrixMatmuls } from './matrix.js'
import { registerMatmul } from './register.js'
import { tiledMatmuls } from './tiled.js'
import type { MatmulWork, Variant } from './work.js'

export const matmulVariants: readonly Variant<MatmulWork>[] = [...matrixMatmuls, ...tiledMatmuls, registerMatmul]
