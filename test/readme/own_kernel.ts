import { requestAdapter } from '../../train/node/index.js'
import { matmul } from '../../engine/standalone/index.js'

const { adapter } = await requestAdapter() // in a browser: navigator.gpu.requestAdapter()
const device = await adapter.requestDevice()
const product = await matmul(device, { a: [128, 64], b: [64, 32] }) // compiles once for these shapes
const { STORAGE, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage
const { a: left, b: right, c: result } = product.operands // what each buffer must hold
const a = device.createBuffer({ size: left.bytes, usage: STORAGE | COPY_DST })
const b = device.createBuffer({ size: right.bytes, usage: STORAGE | COPY_DST })
const c = device.createBuffer({ size: result.bytes, usage: STORAGE | COPY_SRC })
device.queue.writeBuffer(a, 0, new Float32Array(128 * 64).fill(0.5))
device.queue.writeBuffer(b, 0, new Float32Array(64 * 32).fill(0.25))

const encoder = device.createCommandEncoder()
const pass = encoder.beginComputePass()
product.encode(pass, { a, b, c }) // your buffers, among your own dispatches; as often as you like
pass.end()
const staging = device.createBuffer({ size: result.bytes, usage: MAP_READ | COPY_DST })
encoder.copyBufferToBuffer(c, 0, staging, 0, result.bytes)
device.queue.submit([encoder.finish()])
await staging.mapAsync(GPUMapMode.READ)
console.log(`c[0, 0] = ${new Float32Array(staging.getMappedRange())[0]}`) // 64 · 0.5 · 0.25 = 8
device.destroy()
