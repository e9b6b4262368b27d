/** Weights files on disk. */
import { readFile } from 'node:fs/promises'
import type { Engine } from '../../engine/index.js'
import { decodeSafetensors, importStateDict, type StateDict } from '../../models/index.js'
import { ConfigError } from '../config/config.js'
import { unreadable } from './files.js'

/**
 * Reads the tensors and the metadata of a safetensors file.
 *
 * @throws in one line if the file is missing or damaged
 */
export async function readWeights(file: string): Promise<ReturnType<typeof decodeSafetensors>> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(file)
  } catch (error) {
    throw new ConfigError(unreadable(file, error))
  }
  return decodeSafetensors(bytes, file)
}

/** Loads a network's weights from a safetensors file with torchvision's names. */
export async function loadModel(engine: Engine, dict: StateDict, file: string): Promise<void> {
  importStateDict(engine, dict, (await readWeights(file)).tensors, file)
}
