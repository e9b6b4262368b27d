/** The portable entry: engine, models, pretraining and features, without anything that needs Node. */
export * from '../engine/index.js'
export * from '../models/index.js'

export * from './objectives/index.js'
export { learningRate, targetRate, type Schedule } from './run/schedule.js'
export { ConfigError, overlay, resolveConfig, type PartialConfig, type PretrainConfig } from './config/config.js'
export { buildNetwork, type Network } from './step/network.js'
export {
  DivergedError,
  pretrain,
  type InitialWeights,
  type PretrainOptions,
  type PretrainResult,
  type StepMetrics,
} from './run/pretrain.js'
export { openRun, type OpenOptions } from './run/checkpoint.js'
export type { Checkpoint } from './run/checkpoint_record.js'
export type { RunStore } from './run/store.js'
export { estimateStatistics, extractFeatures, type FeatureOptions, type StatisticsOptions } from './readout/features.js'

export {
  fromArrays,
  inMemory,
  type ArrayDataset,
  type ImageArrays,
  type ImageDataset,
  type ImageStore,
  type Split,
} from './data/dataset.js'
export { subset } from './data/subset.js'
export { cleanViews, drawViews, ROW_FLOATS, type DrawOptions } from './augment/draw.js'
export { recipes, type AugmentationRecipe } from './augment/recipe.js'
export { augmentViews, deviceImages, type DeviceImages } from './augment/views.js'
