/** Results of arms without a run: accuracies and times by formulas that every choice of an arm shows in. */
import type { Arm, ArmResult, Context, Experiment, Setup } from '../../../bench/paper/experiment.js'
import { experiments } from '../../../bench/paper/experiments/index.js'
import type { Reading } from '../../../bench/runs/runs.js'
import { resolveConfig } from '../../../train/config/config.js'
import { engine } from '../../support/engine.js'

export const reading = (epoch: number, seconds: number, top1: number): Reading => ({
  step: 10 * epoch,
  epoch,
  seconds,
  views: 1,
  top1,
  top5: 1,
  testCount: 100,
})

/**
 * What a run is worth in %, so that the least difference between two arms shows:
 *
 *   40 + 2 log₂ m + 3 log₂ (images / 20 %) + ½ log₂ (d / 64) + 2 log₁₀ (constraint / the baseline's)
 *      − 1.5 without the stem's ReLU + 0.7 with batch-norm per view + epoch + 0.3 seed + 0.1 seed log₂ (m / 2)
 *
 * The constraint is λ of Barlow Twins (the baseline's .0004) and 1 / λ of VICReg (1 / 750).
 */
function worth(arm: Arm, epoch: number, seed: number): number {
  const { views, fraction, projectorDim, objective, lambda, stemRelu, bn } = resolveConfig(arm.config)
  const constraint = objective === 'vicreg' ? 750 / lambda! : lambda! / 0.0004
  const [more, wider] = [Math.log2(views / 2), Math.log2(projectorDim / 64)]
  const modes = (stemRelu ? 0 : -1.5) + (bn === 'per-view' ? 0.7 : 0)
  const data = 3 * Math.log2(fraction / 0.2)
  return 42 + 2 * more + data + wider / 2 + 2 * Math.log10(constraint) + modes + epoch + 0.3 * seed + 0.1 * seed * more
}

/** Ten seconds an epoch for each view of all images, and twice that at d = 1024. */
function secondsOf(arm: Arm, epoch: number): number {
  const { views, fraction, projectorDim } = resolveConfig(arm.config)
  return 10 * epoch * views * (fraction / 0.2) * (1 + projectorDim / 1024)
}

export const tiny: Setup = { scale: 'tiny', dataset: 'cifar10' }

/** @param kept what lies in the cache: all, if it is not said */
export async function contextOf(setup: Setup, { kept = () => true }: { kept?: (arm: Arm) => boolean } = {}) {
  const asked: string[] = []
  const made = (arms: readonly Arm[], there: (arm: Arm) => boolean): ArmResult[] =>
    arms.map((arm) => {
      const { epochs, checkpointEvery } = resolveConfig(arm.config)
      const all = Array.from({ length: epochs / checkpointEvery }, (_, i) => (i + 1) * checkpointEvery)
      const seeds = [1, 2, 3].map((seed) => ({
        seed,
        readings: there(arm)
          ? (arm.curve ? all : all.slice(-1)).map((epoch) => ({
              ...reading(epoch, secondsOf(arm, epoch), worth(arm, epoch, seed) / 100),
              views: arm.readout.views,
              knn20: worth(arm, epoch, seed) / 100 - 0.05,
            }))
          : [],
      }))
      return { arm, seeds }
    })
  const context: Context = {
    ...setup,
    engine: await engine(),
    seeds: [1, 2, 3],
    runs: async (arms) => {
      asked.push(...arms.map(({ name }) => name))
      return made(arms, () => true)
    },
    atHand: async (arms) => made(arms, kept),
    onProgress: () => undefined,
    signal: new AbortController().signal,
  }
  return { context, asked }
}

export const named = (name: string): Experiment => experiments.find((e) => e.name === name)!
