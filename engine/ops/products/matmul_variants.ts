/** The variants of a matrix product. */
import { matrixMatmuls } from './matrix.js'
import { registerMatmul } from './register_matmul.js'
import { tiledMatmuls } from './tiled.js'
import type { MatmulWork, Variant } from './work.js'

export const matmulVariants: readonly Variant<MatmulWork>[] = [...matrixMatmuls, ...tiledMatmuls, registerMatmul]
