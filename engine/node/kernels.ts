/** The kernels under Node, where their texts are files. */
import { useKernelTexts } from '../kernels.js'
import { readKernels } from './index.js'

useKernelTexts(() => readKernels())

export * from '../kernels.js'
