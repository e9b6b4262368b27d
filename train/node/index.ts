/** The package's main entry, for Node: the portable entry, the adapters of this machine, data sets and run folders. */
export * from '../index.js'
export {
  AdapterError,
  openEngine,
  requestAdapter,
  type DriverChoice,
  type NodeEngine,
} from '../../engine/node/index.js'
export { loadDataset } from './data/index.js'

// These take a folder where the portable ones take a RunStore.
export { pretrain, type PretrainOptions } from './pretrain.js'
export { openRun, type Checkpoint } from './run_folder.js'
export { loadModel } from './weights.js'
