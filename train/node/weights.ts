/** Weights files on disk. */
import { stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import type { Engine } from '../../engine/index.js'
import {
  decodeSafetensors,
  identifyResNet,
  importStateDict,
  type IdentifiedResNet,
  type StateDict,
} from '../../models/index.js'
import { ConfigError } from '../config/config.js'
import { MODEL_FILE } from '../run/checkpoint_record.js'
import type { InitialWeights } from '../run/pretrain.js'
import { featureInfoIn, featureInfoOf, type FeatureInfo } from '../run/weights.js'
import { readWhole, unreadable } from './files.js'
import { openRun } from './run_folder.js'

/**
 * Reads the tensors and the metadata of a safetensors file.
 *
 * @throws in one line if the file is missing or damaged; PyTorchFileError if PyTorch wrote it in its own format
 */
export async function readWeights(file: string): Promise<ReturnType<typeof decodeSafetensors>> {
  let bytes: Uint8Array
  try {
    bytes = await readWhole(file)
  } catch (error) {
    throw new ConfigError(unreadable(file, error))
  }
  try {
    return decodeSafetensors(bytes, file)
  } catch (error) {
    throw isPickle(bytes) || pickleExtensions.includes(extname(file)) ? new PyTorchFileError(file) : error
  }
}

const pickleExtensions = ['.pth', '.pt', '.bin', '.ckpt']

/** Whether a file begins as a zip archive or as a pickle, which `torch.save` writes. */
const isPickle = ([a, b, c, d]: Uint8Array): boolean =>
  (a === 0x50 && b === 0x4b && c === 3 && d === 4) || (a === 0x80 && b >= 2 && b <= 5)

/** A file of `torch.save`. `detail` holds the lines of Python that convert it. */
export class PyTorchFileError extends ConfigError {
  override name = 'PyTorchFileError'
  readonly detail: string

  constructor(file: string) {
    super(`${file}: PyTorch wrote this file in its own format; save the weights as safetensors, with this Python:`)
    const target = file.slice(0, file.length - extname(file).length) + '.safetensors'
    const python = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`
    this.detail = [
      'import re, torch, safetensors.torch',
      `weights = torch.load(${python(file)}, map_location='cpu', weights_only=True)`,
      `weights = {re.sub('^(module\\\\.|backbone\\\\.)+', '', name): t.contiguous() for name, t in weights.get('state_dict', weights).items()}`,
      `safetensors.torch.save_file(weights, ${python(target)})`,
    ].join('\n')
  }
}

/** Loads a network's weights from a safetensors file with torchvision's names. */
export async function loadModel(engine: Engine, dict: StateDict, file: string): Promise<void> {
  importStateDict(engine, dict, (await readWeights(file)).tensors, file)
}

/** Weights of a backbone, and the network and input that they belong to as far as these are known. */
export interface BackboneWeights extends InitialWeights {
  info: Partial<FeatureInfo> & IdentifiedResNet
}

/** Reads a weights file. The names and shapes of its tensors say which network it holds. */
export async function readBackbone(file: string): Promise<BackboneWeights> {
  const { tensors, metadata } = await readWeights(file)
  return { tensors, source: file, info: { ...featureInfoIn(metadata, file), ...identifyResNet(tensors, file) } }
}

/**
 * Reads the weights that the option `init` names: a weights file, or the newest checkpoint of a run's folder.
 *
 * @throws in one line if there are none
 */
export async function readInitialWeights(path: string): Promise<BackboneWeights> {
  if (!(await stat(path).catch(() => undefined))?.isDirectory()) return readBackbone(path)
  const { config, latest } = await openRun(path)
  if (!latest) throw new ConfigError(`${path}: holds no checkpoint yet; let it reach one, or stop it with Ctrl-C`)
  const read = await readBackbone(join(latest.folder, MODEL_FILE))
  // The configuration of the run says more than the files of older checkpoints.
  return { ...read, info: { ...read.info, ...featureInfoOf(config) } }
}

/**
 * Checks a choice of network against the weights.
 *
 * @throws ConfigError that names the option, if the weights belong to another network
 */
export function refuseOtherNetwork(chosen: Partial<IdentifiedResNet>, { info, source }: BackboneWeights): void {
  for (const name of ['arch', 'width', 'stem'] as const)
    if (chosen[name] !== undefined && chosen[name] !== info[name])
      throw new ConfigError(
        `\`${name}\` ${chosen[name]}: ${source} holds a ${info.arch} of width ${info.width} with the ${info.stem} stem; leave \`${name}\` out`,
      )
}
