/// <reference types="@webgpu/types" preserve="true" />
/**
 * Each kernel as a function on the caller's own GPUDevice and GPUBuffers, without an engine:
 *
 *     const product = await matmul(device, { a: [M, K], b: [K, N] })        // compiles, once
 *     const pass = encoder.beginComputePass()
 *     product.encode(pass, { a, b, c })                                      // records, any number of times
 *     pass.end()
 *
 * Each function takes the shapes of its operands and returns a `RecordedKernel`. The return type names the buffers
 * that `encode` needs, and `operands` gives the bytes that each buffer must hold. Tensors are dense, row-major and f32
 * (labels are u32); activations are NHWC, convolution weights HWIO. Results are deterministic. A function `xGradient`
 * takes dy, the gradient of a loss in y, and returns the gradient in the inputs of x. Statistics and places of maxima
 * that it needs from the forward pass are computed again from the inputs.
 *
 * Every function rejects with a one-line error that names the op if shapes do not fit or memory is short.
 */
export { kernel, type RawKernel } from './raw_kernel.js'
export { useKernelTexts } from './devices.js'
export { type Operand, type OperandSpec, type RecordedKernel } from './recording.js'
export { kernelTexts } from '../kernel_texts.js'
export { fetchKernels, kernelNames, type KernelName } from '../fetch_kernels.js'
export { MASKED_LABEL } from '../ops/cross_entropy.js'
export { ShapeError } from '../value.js'
export type { Constants } from '../kernel.js'

export * from './products.js'
export * from './normalization.js'
export * from './elementwise.js'
export * from './pool.js'
export * from './losses.js'
export * from './optimizers.js'
