/** A network as a file that the command line and other programs read. */
import { input, type Engine } from '../../../engine/index.js'
import {
  decodeSafetensors,
  encodeOnnx,
  encodeSafetensors,
  exportStateDict,
  type Backbone,
  type Projector,
  type SafetensorsTensor,
} from '../../../models/index.js'
import type { PretrainConfig } from '../../config/config.js'
import { MODEL_FILE } from '../../run/checkpoint_record.js'
import { checkpointPath } from '../../run/folder.js'
import type { RunStore } from '../../run/store.js'
import { featureInfoOf, featureMetadata } from '../../run/weights.js'
import type { ExportFormat } from '../protocol.js'

/** The weights of a checkpoint. */
export async function readModel(store: RunStore, checkpoint: string): Promise<Record<string, SafetensorsTensor>> {
  const path = checkpointPath(checkpoint, MODEL_FILE)
  const bytes = await store.readBytes(path)
  if (!bytes) throw new Error(`${store.nameOf(path)}: there is no such file`)
  return decodeSafetensors(bytes, store.nameOf(path)).tensors
}

/** The bytes of a file with the present weights, and a name for it. */
export async function encode(
  engine: Engine,
  { backbone, projector }: { backbone: Backbone; projector: Projector },
  config: PretrainConfig,
  step: number,
  format: ExportFormat,
): Promise<{ name: string; bytes: Uint8Array }> {
  const dicts = [backbone.dict, projector.dict]
  const tensors = Object.assign({}, ...(await Promise.all(dicts.map((dict) => exportStateDict(engine, dict)))))
  const metadata = { ...featureMetadata(featureInfoOf(config)), step: String(step) }
  const name = `${config.objective}-${config.arch}-width-${config.width}-step-${step}.${format}`
  if (format === 'safetensors') return { name, bytes: encodeSafetensors(tensors, metadata) }
  const { size, mean, std } = config.augmentation
  const images = input('images', [1, size, size, 4])
  const features = backbone.forward(images, { training: false })
  const outputs = { features, embeddings: projector.forward(features, { training: false }) }
  return { name, bytes: encodeOnnx({ images, outputs, dicts, tensors, mean, std, metadata }) }
}
