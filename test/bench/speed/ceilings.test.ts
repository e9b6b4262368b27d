/** The shaders that measure the ceilings. */
import { expect, test } from 'vitest'
import { create } from 'webgpu'
import { copyShader, fmaShader, matrixShader } from '../../../bench/speed/ceilings.js'

/**
 * Dawn's null backend validates shaders for hardware that this machine does not have. engine/node/adapter.ts explains why
 * the instance must be kept.
 */
const gpu = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis'])

test('the shaders of the ceilings compile, also those with subgroup matrices', async () => {
  const adapter = (await gpu.requestAdapter())!
  const features = ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'] as GPUFeatureName[]
  for (const feature of features) expect(adapter.features.has(feature)).toBe(true)
  const device = await adapter.requestDevice({ requiredFeatures: features })
  const shaders = [
    copyShader,
    matrixShader(32),
    ...(['f32', 'f16'] as const).flatMap((dtype) => [fmaShader(dtype, 2, true, 1), fmaShader(dtype, 8, false, 4)]),
  ]
  const errors = async (code: string): Promise<string[]> => {
    const { messages } = await device.createShaderModule({ code }).getCompilationInfo()
    return messages.filter(({ type }) => type === 'error').map(({ message }) => message)
  }
  for (const code of shaders) expect(await errors(code)).toEqual([])
  device.pushErrorScope('validation')
  expect(await errors(matrixShader(32).replace('row_major', 'sideways'))).not.toEqual([])
  await device.popErrorScope()
  device.destroy()
})
