/** Converts between the engine's layouts and torchvision's state dicts (OIHW convolutions, [out, in] linear layers). */
import { sizeOf, type Engine } from '../engine/index.js'
import type { Entry, StateDict } from './layers.js'
import { toFloat32, type SafetensorsTensor } from './safetensors.js'

/** Converts from the engine's HWIO (stem padded to 4 channels) or [in, out] to PyTorch's layout. */
export function toTorch({ layout, torchShape, variable }: Entry, data: Float32Array): Float32Array {
  if (layout === 'vector') return data
  const out = new Float32Array(sizeOf(torchShape))
  forEachElement(layout, torchShape, variable.shape, (torch, engine) => (out[torch] = data[engine]))
  return out
}

/** The inverse of `toTorch`; the padding channel of the stem is 0. */
export function fromTorch({ layout, torchShape, variable }: Entry, data: Float32Array): Float32Array {
  if (layout === 'vector') return data
  const out = new Float32Array(variable.size)
  forEachElement(layout, torchShape, variable.shape, (torch, engine) => (out[engine] = data[torch]))
  return out
}

/** Calls `pair` with the index of each element in PyTorch's layout and in the engine's. */
function forEachElement(
  layout: 'conv' | 'linear',
  torchShape: readonly number[],
  shape: readonly number[],
  pair: (torch: number, engine: number) => void,
): void {
  const [O, I, H, W] = layout === 'conv' ? torchShape : [...torchShape, 1, 1]
  const channels = layout === 'conv' ? shape[2] : I
  let torch = 0
  for (let o = 0; o < O; o++)
    for (let i = 0; i < I; i++) for (let p = 0; p < H * W; p++) pair(torch++, (p * channels + i) * O + o)
}

/** Reads the current values of a network into tensors with torchvision's names and layouts. */
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
 * Loads a state dict with torchvision's names. Classifiers (`fc.`), batch counters and other parts of a checkpoint are
 * ignored. Every tensor of this network must exist with the right shape.
 *
 * @param source names the file in error messages
 * @throws Error in one line, before anything is written, where a tensor is missing, has another shape, belongs to
 *   another backbone, or holds a value that no network can have
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
    if (!tensor) throw new Error(`${source}: has no tensor '${name}': the file holds another architecture`)
    if (tensor.shape.join() !== entry.torchShape.join())
      throw new Error(
        `${source}: '${name}' is [${tensor.shape.join(', ')}], the network needs [${entry.torchShape.join(', ')}]: ` +
          'the file holds another architecture, width or stem',
      )
    const data = toFloat32(tensor)
    checkValues(data, name, source)
    loaded.push([entry, data])
  }
  const unexpected = Object.keys(tensors).filter(
    (name) => /^(conv1|bn1|layer\d)/.test(name) && !name.endsWith('num_batches_tracked') && !dict.entries.has(name),
  )
  if (unexpected.length && dict.entries.has('conv1.weight'))
    throw new Error(`${source}: holds '${unexpected[0]}', which the network lacks: the file holds another architecture`)
  for (const [entry, data] of loaded) engine.write(entry.variable, fromTorch(entry, data))
}

/** Throws if a tensor holds an infinity or NaN, or a variance below 0. */
export function checkValues(data: Float32Array, name: string, source: string): void {
  const least = name.endsWith('.running_var') ? 0 : -Infinity
  const bad = data.findIndex((value) => !Number.isFinite(value) || value < least)
  if (bad < 0) return
  const count = data.reduce((sum, value) => sum + (!Number.isFinite(value) || value < least ? 1 : 0), 0)
  throw new Error(
    `${source}: '${name}' holds ${data[bad]} (${count.toLocaleString('en')} of its ${data.length.toLocaleString('en')} values are ${least === 0 ? 'negative or ' : ''}not finite): ` +
      'the file is damaged, or its training diverged',
  )
}
