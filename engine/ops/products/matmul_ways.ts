/** The ways to compute a matrix product, in the order that the shipped table prefers. */
import { registerMatmul } from './register.js'
import type { MatmulWork, Way } from './work.js'

export const matmulWays: readonly Way<MatmulWork>[] = [registerMatmul]
