/** The number of dispatches of a step on a wide GPU: each costs a launch, and bubbles in the queue. */
import { expect, test } from 'vitest'
import type { Engine, Target } from '../../../engine/index.js'
import { configOf, nameOf, randomImages, workload } from '../../../bench/speed/workload.js'
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
  { step: workload({ batch: 256 }), dispatches: 438, most: 450 },
  { step: workload({ batch: 512 }), dispatches: 486, most: 500 },
  { step: workload({ batch: 512, views: 8 }), dispatches: 725, most: 900 },
  { step: workload({ batch: 256, precision: 'f16' }), dispatches: 327, most: 350 },
]

test.each(steps.map((one) => ({ ...one, name: nameOf(one.step) })))('$name', async ({ step, dispatches, most }) => {
  const onCard = Object.assign(Object.create(await engine()) as Engine, { target: card })
  const config = configOf(step)
  const { spec } = describeStep(randomImages(onCard, step), buildNetwork(config), config)
  const plan = onCard.plan(spec)
  expect(plan.dispatches.length).toBeLessThan(most)
  // Exact, so that a change is noticed. Where it is meant, write the new number here.
  expect(plan.dispatches.length).toBe(dispatches)
})
