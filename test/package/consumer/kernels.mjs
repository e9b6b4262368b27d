// What another project does: its own device and buffers, and two kernels in a compute pass of its own.
import { requestAdapter } from 'webgpu-ssl'
import { conv2d, matmul } from 'webgpu-ssl/kernels'
import { readFileSync } from 'node:fs'

const { adapter } = await requestAdapter()
const device = await adapter.requestDevice()
device.addEventListener('uncapturederror', ({ error }) => {
  console.error(error.message)
  process.exit(1)
})
const text = readFileSync(new URL(import.meta.resolve('webgpu-ssl/shaders/matmul.wgsl')), 'utf8')
if (!text.startsWith('// matmul.wgsl:')) throw new Error('webgpu-ssl/shaders/matmul.wgsl is not the shader')

const numbers = (count, seed) => Float32Array.from({ length: count }, (_, i) => Math.sin(seed + 1.7 * i))
const { STORAGE, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage

/** Runs a kernel on the given arrays; returns what it wrote under `result`. */
async function run(kernel, arrays, result) {
  const buffers = {}
  for (const [name, { bytes }] of Object.entries(kernel.operands)) {
    buffers[name] = device.createBuffer({ size: bytes, usage: STORAGE | COPY_DST | COPY_SRC })
    if (arrays[name]) device.queue.writeBuffer(buffers[name], 0, arrays[name])
  }
  const { shape, bytes } = kernel.operands[result]
  const staging = device.createBuffer({ size: bytes, usage: MAP_READ | COPY_DST })
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  kernel.encode(pass, buffers)
  pass.end()
  encoder.copyBufferToBuffer(buffers[result], 0, staging, 0, bytes)
  device.queue.submit([encoder.finish()])
  await staging.mapAsync(GPUMapMode.READ)
  return new Float32Array(
    staging.getMappedRange(),
    0,
    shape.reduce((a, b) => a * b),
  ).slice()
}

const compare = (actual, expected) => ({
  numbers: actual.length,
  worst: expected.length === actual.length ? Math.max(...expected.map((v, i) => Math.abs(v - actual[i]))) : NaN,
})

const [M, K, N] = [13, 10, 7]
const [a, b] = [numbers(M * K, 1), numbers(K * N, 2)]
const product = await matmul(device, { a: [M, K], b: [K, N] })
const naiveProduct = []
for (let m = 0; m < M; m++)
  for (let n = 0; n < N; n++) {
    let sum = 0
    for (let k = 0; k < K; k++) sum += a[m * K + k] * b[k * N + n]
    naiveProduct.push(sum)
  }

const [images, height, width, channels, outChannels, stride, padding] = [2, 5, 7, 3, 5, 2, 1]
const [x, w, bias] = [
  numbers(images * height * width * channels, 3),
  numbers(9 * channels * outChannels, 4),
  numbers(outChannels, 5),
]
const shapes = { x: [images, height, width, channels], w: [3, 3, channels, outChannels] }
const convolution = await conv2d(device, { ...shapes, stride, padding, bias: true })
const naiveConvolution = []
for (let n = 0; n < images; n++)
  for (let i = 0; i < 3; i++)
    for (let j = 0; j < 4; j++)
      for (let o = 0; o < outChannels; o++) {
        let sum = bias[o]
        for (let ky = 0; ky < 3; ky++)
          for (let kx = 0; kx < 3; kx++) {
            const [row, column] = [i * stride + ky - padding, j * stride + kx - padding]
            if (row < 0 || row >= height || column < 0 || column >= width) continue
            for (let c = 0; c < channels; c++)
              sum +=
                x[((n * height + row) * width + column) * channels + c] *
                w[((ky * 3 + kx) * channels + c) * outChannels + o]
          }
        naiveConvolution.push(sum)
      }

const results = {
  matmul: compare(await run(product, { a, b }, 'c'), naiveProduct),
  conv2d: compare(await run(convolution, { x, w, bias }, 'y'), naiveConvolution),
}
console.log(JSON.stringify(results))
process.exit(0)
