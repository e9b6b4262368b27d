import { MASKED_LABEL, crossEntropy, crossEntropyGradient, matmul } from '../../engine/standalone/index.js'

/** The loss of a linear classifier on your device, and its gradient in the weights: four kernels in one pass. */
export async function classify(device: GPUDevice): Promise<{ loss: number; gradient: Float32Array }> {
  const [rows, features, classes] = [6, 5, 3]
  const logits = await matmul(device, { a: [rows, features], b: [features, classes] })
  const loss = await crossEntropy(device, { logits: [rows, classes] })
  const dlogits = await crossEntropyGradient(device, { logits: [rows, classes] })
  const dw = await matmul(device, { a: [rows, features], b: [rows, classes], transposeA: true })

  const { STORAGE, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage
  const buffer = (bytes: number, data?: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): GPUBuffer => {
    const made = device.createBuffer({ size: bytes, usage: STORAGE | COPY_DST | COPY_SRC })
    if (data) device.queue.writeBuffer(made, 0, data)
    return made
  }
  const x = buffer(
    logits.operands.a.bytes,
    Float32Array.from({ length: rows * features }, (_, i) => Math.sin(i)),
  )
  const w = buffer(logits.operands.b.bytes, new Float32Array(features * classes))
  const y = buffer(logits.operands.c.bytes)
  const labels = buffer(loss.operands.labels.bytes, Uint32Array.of(0, 1, 2, 0, 1, MASKED_LABEL)) // the last row is left out
  const mean = buffer(loss.operands.loss.bytes)
  const dy = buffer(dlogits.operands.dlogits.bytes)
  const gradient = buffer(dw.operands.c.bytes)

  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  logits.encode(pass, { a: x, b: w, c: y })
  loss.encode(pass, { logits: y, labels, loss: mean })
  dlogits.encode(pass, { logits: y, labels, dlogits: dy })
  dw.encode(pass, { a: x, b: dy, c: gradient })
  pass.end()
  const staging = device.createBuffer({ size: 256 + dw.operands.c.bytes, usage: MAP_READ | COPY_DST })
  encoder.copyBufferToBuffer(mean, 0, staging, 0, 4)
  encoder.copyBufferToBuffer(gradient, 0, staging, 256, dw.operands.c.bytes)
  device.queue.submit([encoder.finish()])
  await staging.mapAsync(GPUMapMode.READ)
  const read = new Float32Array(staging.getMappedRange())
  return { loss: read[0], gradient: read.slice(64, 64 + features * classes) }
}
