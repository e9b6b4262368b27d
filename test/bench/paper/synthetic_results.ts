/** Synthetic results of arms: accuracies and times from formulas in which every option of an arm counts. */
import type { Arm, ArmResult, Context, Experiment, Setup } from '../../../bench/paper/experiment.js'
import { experiments } from '../../../bench/paper/experiments/index.js'
import type { Reading } from '../../../bench/runs/cached.js'
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
 * The accuracy of a run in %. Any difference between two arms changes it:
 *
 *   40 + 2 log₂ m + 3 log₂ (images / 20 %) + ½ log₂ (d / 64) + 2 log₁₀ (constraint / the baseline's)
 *      − 1.5 without the stem's ReLU + 0.7 with batch-norm per view + epoch + 0.3 seed + 0.1 seed log₂ (m / 2)
 *
 * The constraint is λ for Barlow Twins (baseline 0.0004) and 1 / λ for VICReg (baseline 1 / 750).
 */
function accuracyOf(arm: Arm, epoch: number, seed: number): number {
  const { views, fraction, projectorDim, objective, lambda, stemRelu, bn } = resolveConfig(arm.config)
  const constraint = objective === 'vicreg' ? 750 / lambda! : (lambda ?? 0.0004) / 0.0004
  const [more, wider] = [Math.log2(views / 2), Math.log2(projectorDim / 64)]
  const modes = (stemRelu ? 0 : -1.5) + (bn === 'per-view' ? 0.7 : 0)
  const data = 3 * Math.log2(fraction / 0.2)
  return 42 + 2 * more + data + wider / 2 + 2 * Math.log10(constraint) + modes + epoch + 0.3 * seed + 0.1 * seed * more
}

/** Ten seconds per epoch for each view of all images, and twice that at d = 1024. */
function secondsOf(arm: Arm, epoch: number): number {
  const { views, fraction, projectorDim } = resolveConfig(arm.config)
  return 10 * epoch * views * (fraction / 0.2) * (1 + projectorDim / 1024)
}

export const tiny: Setup = { scale: 'tiny', dataset: 'cifar10' }

/**
 * A context whose runs have synthetic results.
 *
 * @returns the context and the names of the arms that were run
 */
export async function contextOf(setup: Setup) {
  const requested: string[] = []
  const resultsOf = (arms: readonly Arm[]): ArmResult[] =>
    arms.map((arm) => {
      const { epochs, checkpointEvery } = resolveConfig(arm.config)
      const all = Array.from({ length: epochs / checkpointEvery }, (_, i) => (i + 1) * checkpointEvery)
      const seeds = [1, 2, 3].map((seed) => ({
        seed,
        readings: (arm.curve ? all : all.slice(-1)).map((epoch) => ({
          ...reading(epoch, secondsOf(arm, epoch), accuracyOf(arm, epoch, seed) / 100),
          views: arm.readout.views,
          knn20: accuracyOf(arm, epoch, seed) / 100 - 0.05,
        })),
      }))
      return { arm, seeds }
    })
  const runs: Context['runs'] = async (arms) => {
    requested.push(...arms.map(({ name }) => name))
    return resultsOf(arms)
  }
  const context: Context = {
    ...setup,
    engine: await engine(),
    seeds: [1, 2, 3],
    runs,
    timedRuns: runs,
    figures: (_, compute) => compute(),
    images: () => Promise.reject(new Error('no images')),
    onProgress: () => undefined,
    signal: new AbortController().signal,
  }
  return { context, requested }
}

export const experimentNamed = (name: string): Experiment => experiments.find((e) => e.name === name)!
