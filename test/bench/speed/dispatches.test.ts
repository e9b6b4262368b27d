/** The number of dispatches of a step, and of a loss, on a wide GPU. Each costs a launch and may leave the GPU idle. */
import { expect, test } from 'vitest'
import { gradients, variable, type Engine, type Target } from '../../../engine/index.js'
import { configOf, nameOf, randomImages, workload } from '../../../bench/speed/workload.js'
import { objectives, resolveObjective } from '../../../train/objectives/index.js'
import { buildNetwork } from '../../../train/step/network.js'
import { describeStep } from '../../../train/step/whole.js'
import { engine } from '../../support/engine.js'

/** The limits and features of an NVIDIA H200. */
const card: Target = {
  adapterClass: 'gpu',
  maxBindingBytes: 2 ** 31 - 256,
  maxBufferBytes: 2 ** 40,
  maxWorkgroupsPerDimension: 65535,
  subgroups: true,
  f16: true,
  subgroupMatrix: true,
  subgroupSize: [32, 32],
  subgroupSizeControl: false,
  maxInvocations: 1024,
  maxWorkgroupBytes: 49152,
}

const steps = [
  { step: workload({ batch: 256 }), dispatches: 436, most: 450 },
  { step: workload({ batch: 512 }), dispatches: 484, most: 500 },
  { step: workload({ batch: 512, views: 8 }), dispatches: 708, most: 900 },
  { step: workload({ batch: 256, precision: 'f16' }), dispatches: 325, most: 350 },
]

/** An engine that plans for the card. */
const onCard = async (): Promise<Engine> => Object.assign(Object.create(await engine()) as Engine, { target: card })

test.each(steps.map((one) => ({ ...one, name: nameOf(one.step) })))('$name', async ({ step, dispatches, most }) => {
  const gpu = await onCard()
  const config = configOf(step)
  const { spec } = describeStep(randomImages(gpu, step), buildNetwork(config), config)
  const plan = gpu.plan(spec)
  expect(plan.dispatches.length).toBeLessThan(most)
  // Exact, so that a change is noticed. Where it is meant, write the new number here.
  expect(plan.dispatches.length).toBe(dispatches)
})

// A loss of 128 images with its gradient takes microseconds of work, so its dispatches are its time.
test.each([
  ['barlow-twins', 2, 21],
  ['barlow-twins', 8, 26],
  ['barlow-twins-leave-one-out', 8, 24],
  ['vicreg', 8, 37],
] as const)('the loss %s of %i views, d = 256', async (objective, views, dispatches) => {
  const z = variable('projections', [views * 128, 256])
  const loss = objectives[objective].build({ projection: z }, views, resolveObjective(objective, views))
  const plan = (await onCard()).plan({ outputs: { loss, gradient: gradients(loss, [z])[0] } })
  expect(plan.dispatches.length).toBe(dispatches)
})
