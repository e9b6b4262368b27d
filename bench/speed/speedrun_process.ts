/** A process that pretrains and reads out within some minutes, and prints what it reached. */
import { openEngine } from '../../engine/node/index.js'
import { resolveConfig } from '../../train/config/config.js'
import { loadDataset } from '../../train/node/data/index.js'
import { inMemory } from '../../train/data/dataset.js'
import { subset } from '../../train/data/subset.js'
import { pretrain } from '../../train/node/pretrain.js'
import { estimateReadoutSeconds } from '../../train/readout/estimate.js'
import { estimateStatistics, typicalStatistics } from '../../train/readout/features.js'
import { readout } from '../../train/readout/readout.js'
import { buildNetwork } from '../../train/step/network.js'
import type { SpeedrunTask } from './speedrun.js'

/** The training images from this one on are held out. */
const HELD_OUT = 45_000
/** The readout may take this much longer than its estimate. */
const SLACK = 1.25
const PROBE_EPOCHS = 50
/** The most that the readout may take of the time. If it would take more, it uses fewer labelled images. */
const READOUT_SHARE = 0.4
/** Fewest labelled images of a class. */
const LEAST_LABELLED = 50

const task = JSON.parse(process.argv[2]) as SpeedrunTask
const { dataDir, seed } = task
const loading = performance.now()
const all = await inMemory(await loadDataset('cifar10', 'train', { dataDir }))
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)
const heldOut = task.split === 'held-out'
const train = heldOut ? subset(all, range(0, HELD_OUT)) : all
const test = heldOut
  ? subset(all, range(HELD_OUT, all.count))
  : await inMemory(await loadDataset('cifar10', 'test', { dataDir }))
const loaded = performance.now() - loading
// `performance.now()` counts from the start of the process.
const seconds = (): number => (performance.now() - loaded) / 1000

// The schedule ends with the time: a trial of some steps says how many fit.
const TRIAL_STEPS = 20
/** The trial ends after this share of the time, even with fewer steps. */
const TRIAL_SHARE = 0.15
const engine = await openEngine({ adapter: task.adapter })
const config = resolveConfig({ ...task.config, seed })
let steps = 0
let { backbone } = buildNetwork(config)
const whole = { recipe: config.augmentation, views: 1, seeds: [1], epochs: PROBE_EPOCHS, ks: [20] }
const estimated = SLACK * (await estimateReadoutSeconds(engine, backbone, train, test, whole))
const perClass = train.count / train.classes.length
const share = Math.min(1, (READOUT_SHARE * 60 * task.minutes) / estimated)
const labelledPerClass = Math.round(Math.min(perClass, Math.max(LEAST_LABELLED, share * perClass)))
const how = { ...whole, ...(labelledPerClass < perClass && { trainPerClass: labelledPerClass }) }
if (task.untrained) await estimateStatistics(engine, backbone, train, typicalStatistics(config))
else {
  const reserve = share * estimated
  const trial = await pretrain({
    ...{ engine, dataset: train, config: { ...config, steps: TRIAL_STEPS } },
    maxMinutes: TRIAL_SHARE * task.minutes,
  })
  // The clock of a run starts when its first step ends.
  const perStep = trial.steps > 1 ? trial.seconds / (trial.steps - 1) : trial.secondsToFirstStep
  const left = 60 * task.minutes - reserve - seconds() - 2 * trial.secondsToFirstStep
  const fit = Math.max(TRIAL_STEPS, Math.floor(left / perStep))
  const maxMinutes = Math.max(0.1, (60 * task.minutes - reserve - seconds()) / 60)
  const result = await pretrain({ engine, dataset: train, config: { ...config, steps: fit }, maxMinutes })
  backbone = result.backbone
  steps = result.steps
}
const { linear, knn } = await readout(engine, backbone, train, test, how)
console.log(
  JSON.stringify({
    ...{ top1: linear.top1, knn20: knn[0].top1, steps, labelled: labelledPerClass * train.classes.length },
    ...{ seconds: seconds(), adapter: engine.description },
  }),
)
process.exit()
