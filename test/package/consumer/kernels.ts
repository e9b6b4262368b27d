// The kernels' types name the buffers that each call wants, and refuse others.
import { conv2d, matmul, type RecordedKernel } from 'webgpu-ssl/kernels'

export async function product(
  device: GPUDevice,
  pass: GPUComputePassEncoder,
  a: GPUBuffer,
  b: GPUBuffer,
  c: GPUBuffer,
) {
  const plain = await matmul(device, { a: [4, 8], b: [8, 2] })
  plain.encode(pass, { a, b, c })
  // @ts-expect-error c is missing
  plain.encode(pass, { a, b })
  // @ts-expect-error it was made without a bias
  plain.encode(pass, { a, b, c, bias: a })
  const biased = await matmul(device, { a: [4, 8], b: [8, 2], bias: true })
  biased.encode(pass, { a, b, c, bias: { buffer: a, offset: 256 } })
  // @ts-expect-error bias is missing
  biased.encode(pass, { a, b, c })
  // @ts-expect-error shapes are lists of numbers
  await matmul(device, { a: 4, b: [8, 2] })
  const kept: RecordedKernel<'x' | 'w' | 'y'> = await conv2d(device, { x: [1, 8, 8, 3], w: [3, 3, 3, 16], padding: 1 })
  const bytes: number = kept.operands.y.bytes + kept.workspaceBytes
  return bytes
}
