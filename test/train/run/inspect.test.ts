/** Looking at the network of a run between its steps. */
import { expect, test } from 'vitest'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { pretrain, type PretrainOptions } from '../../../train/run/pretrain.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'

const options: PartialConfig = { data: 'own images', width: 4, views: 2, projectorDim: 8, batch: 8, epochs: 2 }

const run = async (changes: PartialConfig, more: Partial<PretrainOptions> = {}) =>
  pretrain({
    ...{ engine: await engine(), dataset: colourfulImages(24) },
    config: resolveConfig({ ...options, augmentation: { size: 8 }, ...changes }),
    ...more,
  })

test('inspect sees the network after a step, and the run goes on with the same bits', async () => {
  const gpu = await engine()
  const seen = new Map<number, Float32Array>()
  const asked: number[] = []
  const { losses } = await run(
    { steps: 5 },
    {
      inspect({ step }, { backbone }) {
        asked.push(step)
        if (step !== 1 && step !== 4) return undefined
        return async () => void seen.set(step, await gpu.read(backbone.dict.variables[0]))
      },
    },
  )
  expect(asked).toEqual([1, 2, 3, 4, 5])
  for (const steps of [1, 4]) {
    const { backbone, losses: before } = await run({ steps })
    expect(losses.slice(0, steps)).toEqual(before)
    expect(seen.get(steps), `step ${steps}`).toEqual(await gpu.read(backbone.dict.variables[0]))
  }
  expect(seen.get(1)).not.toEqual(seen.get(4))
})

test('an error of inspect ends the run', async () => {
  const inspect = () => () => Promise.reject(new Error('cannot look'))
  await expect(run({ steps: 3 }, { inspect })).rejects.toThrow('cannot look')
})
