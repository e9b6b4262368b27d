/** The variants that are chosen without measurement. */
import { expect, test } from 'vitest'
import { conv2d, input } from '../../../../engine/index.js'
import { engineFor } from '../../../support/engine.js'

test('on a GPU, register tiles do not compute a convolution of few results: most of the GPU would idle', async () => {
  const kernels = async (adapterClass: 'cpu' | 'gpu'): Promise<string[]> => {
    const gpu = await engineFor({ adapterClass })
    const y = conv2d(input('x', [1, 8, 8, 512]), input('w', [1, 1, 512, 64]))
    return gpu.plan({ outputs: { y } }).dispatches.map((d) => d.kernel)
  }
  expect(await kernels('cpu')).toEqual(['conv2d'])
  expect(await kernels('gpu')).toContain('conv2d_tiled')
})
