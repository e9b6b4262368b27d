/** Failures of the device are one-line errors, and end the run. */
import { describe, expect, test } from 'vitest'
import { affine, defineOp, Engine, EngineError, input, kernelTexts, requestDevice } from '../../engine/index.js'
import { requestAdapter } from '../../engine/node/index.js'

/** A separate engine, because these tests break it. */
async function doomed(kernels: Record<string, string> = {}): Promise<Engine> {
  const { adapter } = await requestAdapter()
  return new Engine(await requestDevice(adapter), adapter.info, { ...kernelTexts, ...kernels })
}

const doubled = (gpu: Engine) => gpu.compile({ label: 'doubling', outputs: { y: affine(input('x', [4]), 2, 0) } })

describe('failures', () => {
  test('a kernel that does not compile is named', async () => {
    const gpu = await doomed({ broken: '@compute @workgroup_size(1) fn main() { let x = nothing; }' })
    const broken = defineOp<object>({
      name: 'broken',
      infer: () => [{ shape: [4], dtype: 'f32' }],
      lower: ({ outputs: [y] }, emit) => {
        emit.of(y)
        emit.dispatch({ kernel: 'broken', params: {}, buffers: {}, workgroups: [1] })
      },
    })
    const failing = gpu.compile({ label: 'a broken step', outputs: { y: broken([], {})[0] } })
    await expect(failing).rejects.toThrow(EngineError)
    await expect(failing).rejects.toThrow(/^a broken step: .*nothing/)
    await expect(failing).rejects.not.toThrow(/\n/)
    // The engine itself still works.
    const program = await doubled(gpu)
    await program.run({ x: Float32Array.of(1, 2, 3, 4) })
    expect([...(await program.read('y'))]).toEqual([2, 4, 6, 8])
    gpu.close()
  })

  test('an uncaptured error ends the next run with one line', async () => {
    const gpu = await doomed()
    const program = await doubled(gpu)
    gpu.device.createBuffer({ size: 4, usage: 0xffff })
    await gpu.device.queue.onSubmittedWorkDone()
    await new Promise((resolve) => setTimeout(resolve, 50))
    const run = program.run({ x: new Float32Array(4) })
    await expect(run).rejects.toThrow(/^GPU error on .*: [^\n]+$/)
    gpu.close()
  })

  test('a lost device ends the run with one line', async () => {
    const gpu = await doomed()
    const program = await doubled(gpu)
    gpu.device.destroy()
    await gpu.device.lost
    await new Promise((resolve) => setTimeout(resolve, 10))
    await expect(program.run({ x: new Float32Array(4) })).rejects.toThrow(/the device was lost \(destroyed\)/)
  })
})
