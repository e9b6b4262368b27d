/** The kernels under Node, where their texts are files. */
import { useKernelTexts } from '../standalone/index.js'
import { readKernels } from './index.js'

useKernelTexts(() => readKernels())

export * from '../standalone/index.js'
