/** The portable entry, `webgpu-ssl/train`: engine, models and training, without anything that needs Node. */
export * from '../engine/index.js'
export * from '../models/index.js'

export * from './objectives/index.js'
export {
  instanceDiscrimination,
  instanceLosses,
  type InstanceDiscriminationOptions,
} from './methods/instance_discrimination.js'
export { addedRows, imageWeights, type ImageWeightOptions } from './methods/image_weights.js'
export { featureConsistency, randomLinearProjections, type FeatureConsistencyOptions } from './methods/few_labels.js'
export { learningRate, targetRate, type Schedule } from './run/schedule.js'
export { ConfigError, overlay, resolveConfig, type PartialConfig, type PretrainConfig } from './config/config.js'
export { inProcessRanks, type InProcessRanks } from './ranks/in_process.js'
export { readRecipe, recipeNames } from './recipes/index.js'
export { buildNetwork, type Network } from './step/network.js'
export { compileTrainingStep, type StepExtras, type StepInputs, type TrainingStep } from './step/index.js'
export {
  DivergedError,
  pretrain,
  type InitialWeights,
  type PretrainOptions,
  type PretrainResult,
  type StepMetrics,
} from './run/pretrain.js'
export { openRun, type OpenOptions } from './run/checkpoint.js'
export { isResumable } from './run/folder.js'
export type { Checkpoint } from './run/checkpoint_record.js'
export type { RunStore } from './run/store.js'
export { originStore } from './web/origin_store.js'
export { estimateStatistics, extractFeatures, type FeatureOptions, type StatisticsOptions } from './readout/features.js'
export { knn, nearestNeighbours, type KnnResult, type Neighbours } from './readout/knn.js'
export type { LabelledFeatures } from './readout/labelled_features.js'
export { applyLinear, linearProbe, type LinearProbe, type LinearProbeOptions } from './readout/linear_probe.js'
export { readout, type Readout, type ReadoutOptions } from './readout/readout.js'
export { diagnose, type DiagnoseOptions, type Diagnostics, type Spectrum } from './diagnostics/diagnose.js'
export { alignment, uniformity } from './diagnostics/geometry.js'
export { covarianceEigenvalues, effectiveRank, powerLawExponent } from './diagnostics/spectrum.js'

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
export { datasetRegistry, type DatasetLoader, type DatasetRegistry, type LoadOptions } from './data/registry.js'
export { cleanViews, drawViews, ROW_FLOATS, type DrawOptions } from './augment/draw.js'
export { recipes, type AugmentationRecipe } from './augment/recipe.js'
export { augmentCrops, augmentViews, deviceImages, type DeviceImages } from './augment/views.js'
