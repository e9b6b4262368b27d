/** Between the engine's layouts and torchvision's: names, OIHW convolutions, [out, in] linear layers. */
import { sizeOf, type Engine } from '../engine/index.js'
import type { Entry, StateDict } from './layers.js'
import { toFloat32, type SafetensorsTensor } from './safetensors.js'

/** From the engine's HWIO (stem padded to 4 channels) or [in, out] to PyTorch's layout. */
export function toTorch({ layout, torchShape, variable }: Entry, data: Float32Array): Float32Array {
  if (layout === 'vector') return data
  const out = new Float32Array(sizeOf(torchShape))
  visit(layout, torchShape, variable.shape, (torch, own) => (out[torch] = data[own]))
  return out
}

/** The inverse of `toTorch`. */
export function fromTorch({ layout, torchShape, variable }: Entry, data: Float32Array): Float32Array {
  if (layout === 'vector') return data
  const out = new Float32Array(variable.size)
  visit(layout, torchShape, variable.shape, (torch, own) => (out[own] = data[torch]))
  return out
}

function visit(
  layout: 'conv' | 'linear',
  torchShape: readonly number[],
  shape: readonly number[],
  see: (torch: number, own: number) => void,
): void {
  const [O, I, H, W] = layout === 'conv' ? torchShape : [...torchShape, 1, 1]
  const channels = layout === 'conv' ? shape[2] : I
  let torch = 0
  for (let o = 0; o < O; o++)
    for (let i = 0; i < I; i++) for (let p = 0; p < H * W; p++) see(torch++, (p * channels + i) * O + o)
}

/** The present values of a network under torchvision's names, ready for a safetensors file. */
export async function exportStateDict(engine: Engine, dict: StateDict): Promise<Record<string, SafetensorsTensor>> {
  const tensors: Record<string, SafetensorsTensor> = {}
  for (const [name, entry] of dict.entries)
    tensors[name] = {
      dtype: 'F32',
      shape: [...entry.torchShape],
      data: toTorch(entry, await engine.read(entry.variable)),
    }
  return tensors
}

/**
 * Loads a torchvision-named state dict. Classifiers (`fc.`), batch counters and what belongs to other parts of a
 * checkpoint are passed over; everything of this network must be there, in its shape.
 *
 * @param source what the messages call the file
 * @throws in one line, before anything is written, where a tensor is missing or of another shape
 */
export function importStateDict(
  engine: Engine,
  dict: StateDict,
  tensors: Readonly<Record<string, SafetensorsTensor>>,
  source: string,
): void {
  const loaded: [Entry, Float32Array][] = []
  for (const [name, entry] of dict.entries) {
    const tensor = tensors[name]
    if (!tensor)
      throw new Error(`${source}: has no tensor '${name}': it holds another architecture than the one asked for`)
    if (tensor.shape.join() !== entry.torchShape.join())
      throw new Error(
        `${source}: '${name}' is [${tensor.shape.join(', ')}], the network wants [${entry.torchShape.join(', ')}]: ` +
          'it holds another architecture, width or stem than the one asked for',
      )
    loaded.push([entry, toFloat32(tensor)])
  }
  const strangers = Object.keys(tensors).filter(
    (name) => /^(conv1|bn1|layer\d)/.test(name) && !name.endsWith('num_batches_tracked') && !dict.entries.has(name),
  )
  if (strangers.length && dict.entries.has('conv1.weight'))
    throw new Error(
      `${source}: holds '${strangers[0]}', which the network lacks: it holds another architecture than the one asked for`,
    )
  for (const [entry, data] of loaded) engine.write(entry.variable, fromTorch(entry, data))
}
