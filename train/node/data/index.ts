/**
 * The data sets that Node loads by name. To add one, write a file that exports a `DatasetLoader` and add a line here.
 */
import { datasetRegistry } from '../../data/registry.js'

const registry = datasetRegistry({
  cifar10: async () => (await import('./cifar10.js')).cifar10,
  cifar100: async () => (await import('./cifar100.js')).cifar100,
  stl10: async () => (await import('./stl10.js')).stl10,
  folder: async () => (await import('./image_folder.js')).imageFolder,
  shards: async () => (await import('./shards/shards.js')).shards,
})

/** The names that `loadDataset` accepts. */
export const datasetNames = registry.names
/** See `DatasetRegistry.loader`. */
export const datasetLoader = registry.loader
/** See `DatasetRegistry.load`. */
export const loadDataset = registry.load
