/** Earlier names for the kernels' texts. */
import { kernelTexts } from './kernel_texts.js'

/** @deprecated Nothing needs to be fetched: use `kernelTexts`. */
export const fetchKernels = async (): Promise<Readonly<Record<string, string>>> => kernelTexts

/** @deprecated Use `Object.keys(kernelTexts)`. */
export const kernelNames: readonly string[] = Object.keys(kernelTexts)

/** @deprecated Use `string`. */
export type KernelName = string
