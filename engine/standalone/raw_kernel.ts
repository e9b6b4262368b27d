/** A single file of `shaders/` as a pipeline. */
import type { Constants } from '../kernel.js'
import { stateOf } from './devices.js'
import type { Operand } from './recording.js'

/** A `.wgsl` file as a pipeline, for the caller's own dispatches. */
export interface RawKernel {
  readonly pipeline: GPUComputePipeline
  /** The compiled text of the shader. Its first lines describe what it computes, and the shapes. */
  readonly source: string
  /** The storage buffers, with their names in the shader. */
  readonly buffers: readonly { readonly name: string; readonly binding: number; readonly write: boolean }[]
  /** The words of the uniform `Params`, from the values of the fields by their names in the shader. */
  packParams(values: Readonly<Record<string, number>>): Uint32Array
  /** Bind group 0. `params` is a buffer with usage UNIFORM that contains the result of `packParams`. */
  bindGroup(params: GPUBuffer, buffers: Readonly<Record<string, Operand>>): GPUBindGroup
}

/**
 * The pipeline of one file of `shaders/`, specialised.
 *
 * @param name the file's name without `.wgsl`
 * @param constants replacements for lines of its `@specialize` block, by name; other lines keep their defaults
 * @example kernel(device, 'matmul')
 */
export async function kernel(device: GPUDevice, name: string, constants: Constants = {}): Promise<RawKernel> {
  const { library, pipelines } = await stateOf(device)
  const file = library.get(name)
  const source = file.specialize(constants)
  return {
    pipeline: await pipelines.pipeline(name, constants),
    source,
    buffers: file.storageBindings,
    packParams: (values) => file.packParams(values),
    bindGroup: (params, buffers) => {
      const entries: GPUBindGroupEntry[] = file.storageBindings.map(({ name: key, binding }) => {
        const operand = buffers[key]
        if (!operand) throw new Error(`${name}: buffer '${key}' is not given`)
        return { binding, resource: 'buffer' in operand ? { ...operand } : { buffer: operand } }
      })
      if (file.paramsBinding !== undefined) entries.push({ binding: file.paramsBinding, resource: { buffer: params } })
      return device.createBindGroup({ label: name, layout: pipelines.layout(name), entries })
    },
  }
}
