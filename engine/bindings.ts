/** What programs and standalone kernels share: buffer usages, the uniform buffer of all Params, bind group entries. */
import type { KernelLibrary } from './kernel.js'
import { ALIGNMENT, align, type TypedArray } from './leaves.js'
import type { Dispatch, Slice } from './plan.js'

// The flags are numbers because Node has no global GPUBufferUsage.
export const STORAGE_USAGE = 0x80 | 0x04 | 0x08 // STORAGE | COPY_SRC | COPY_DST
export const UNIFORM_USAGE = 0x40 | 0x08 // UNIFORM | COPY_DST
export const READ_BACK_USAGE = 0x01 | 0x08 // MAP_READ | COPY_DST

/** Most bytes of one copy between memory and a device: Dawn's binding for Node crashes at 2 GiB. */
export const COPY_BYTES = 2 ** 28

/** Copies numbers to a buffer, in pieces of at most `copyBytes`, a multiple of 4. */
export function upload(
  device: GPUDevice,
  buffer: GPUBuffer,
  offset: number,
  data: TypedArray,
  copyBytes = COPY_BYTES,
): void {
  for (let done = 0; done < data.byteLength; done += copyBytes)
    device.queue.writeBuffer(
      buffer,
      offset + done,
      data.buffer,
      data.byteOffset + done,
      Math.min(copyBytes, data.byteLength - done),
    )
}

/** The Params of all dispatches in one uniform buffer. */
export interface ParamsLayout {
  /** The contents of the buffer. */
  readonly words: Uint32Array
  /** The offset in bytes of each dispatch's Params. */
  readonly offsets: readonly number[]
}

/** Lays out the Params of all dispatches one behind another. Equal Params share their place. */
export function layOutParams(dispatches: readonly Dispatch[]): ParamsLayout {
  const places = new Map<string, number>()
  let bytes = 0
  const offsets = dispatches.map(({ params }) => {
    const key = params.join()
    if (!places.has(key)) {
      places.set(key, bytes)
      bytes += align(params.byteLength)
    }
    return places.get(key)!
  })
  const words = new Uint32Array(Math.max(ALIGNMENT, bytes) / 4)
  dispatches.forEach(({ params }, i) => words.set(params, offsets[i] / 4))
  return { words, offsets }
}

/**
 * The entries of a dispatch's bind group.
 *
 * @param params where the dispatch's Params begin
 * @param locate gives the buffer range of a slice
 */
export function bindGroupEntries(
  library: KernelLibrary,
  dispatch: Dispatch,
  params: { buffer: GPUBuffer; offset: number },
  locate: (slice: Slice) => GPUBufferBinding,
): GPUBindGroupEntry[] {
  const { storageBindings, paramsBinding } = library.get(dispatch.kernel)
  const entries: GPUBindGroupEntry[] = storageBindings.map(({ binding }, i) => ({
    binding,
    resource: locate(dispatch.bindings[i]),
  }))
  if (paramsBinding !== undefined)
    entries.push({ binding: paramsBinding, resource: { ...params, size: dispatch.params.byteLength } })
  return entries
}
