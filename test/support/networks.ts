/** The golden networks on the engine: weights from the formula, in PyTorch's layouts. */
import type { Engine } from '../../engine/index.js'
import { importStateDict, type StateDict, type SafetensorsTensor } from '../../models/index.js'
import { formulaParameter } from './formula.js'

/** Fills a network with the formula's weights, by the import function for torchvision's files. */
export function fillByFormula(engine: Engine, dict: StateDict): void {
  const tensors: Record<string, SafetensorsTensor> = {}
  for (const [name, { torchShape }] of dict.entries)
    tensors[name] = { dtype: 'F32', shape: [...torchShape], data: formulaParameter(name, torchShape) }
  importStateDict(engine, dict, tensors, 'formula')
}

/** RGB pixels with a fourth channel of zeros, as the engine's images have. */
export function withZeroChannel(rgb: ArrayLike<number>): Float32Array {
  const out = new Float32Array((rgb.length / 3) * 4)
  for (let i = 0; i < rgb.length; i++) out[Math.floor(i / 3) * 4 + (i % 3)] = rgb[i]
  return out
}
