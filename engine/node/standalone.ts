/** The Node entry of the standalone kernels: it reads their texts from files. */
import { useKernelTexts } from '../standalone/index.js'
import { readKernels } from './index.js'

useKernelTexts(() => readKernels())

export * from '../standalone/index.js'
