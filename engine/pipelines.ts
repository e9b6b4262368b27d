/** Compute pipelines and bind group layouts of one device, each made once. */
import type { Constants, KernelLibrary } from './kernel.js'

/** Two dispatches have the same key exactly if they use the same pipeline. */
export const pipelineKey = (kernel: string, constants: Constants): string =>
  kernel + JSON.stringify(Object.entries(constants).sort(([a], [b]) => (a < b ? -1 : 1)))

/**
 * Builds the pipelines of a device, one for each specialisation, which all programs share. Bind group layouts are
 * explicit, so that they also contain the operands that a specialisation does not use.
 */
export class PipelineCache {
  private readonly pipelines = new Map<string, Promise<GPUComputePipeline>>()
  private readonly layouts = new Map<string, GPUBindGroupLayout>()
  /** Pipelines made so far. */
  get count(): number {
    return this.pipelines.size
  }

  constructor(
    private readonly device: GPUDevice,
    private readonly library: KernelLibrary,
  ) {}

  layout(name: string): GPUBindGroupLayout {
    let layout = this.layouts.get(name)
    if (!layout) {
      const kernel = this.library.get(name)
      const visibility = 4 // GPUShaderStage.COMPUTE; Node has no such global
      const entries: GPUBindGroupLayoutEntry[] = kernel.storageBindings.map(({ binding, write }) => ({
        binding,
        visibility,
        buffer: { type: write ? 'storage' : 'read-only-storage' },
      }))
      if (kernel.paramsBinding !== undefined)
        entries.push({ binding: kernel.paramsBinding, visibility, buffer: { type: 'uniform' } })
      this.layouts.set(name, (layout = this.device.createBindGroupLayout({ label: name, entries })))
    }
    return layout
  }

  pipeline(name: string, constants: Constants): Promise<GPUComputePipeline> {
    const key = pipelineKey(name, constants)
    let pipeline = this.pipelines.get(key)
    if (!pipeline) {
      const module = this.device.createShaderModule({ label: key, code: this.library.get(name).specialize(constants) })
      pipeline = this.device.createComputePipelineAsync({
        label: key,
        layout: this.device.createPipelineLayout({ bindGroupLayouts: [this.layout(name)] }),
        compute: { module, entryPoint: 'main' },
      })
      this.pipelines.set(key, pipeline)
      // A failed pipeline is not kept, so that the next program gets the error itself.
      pipeline.catch(() => this.pipelines.delete(key))
    }
    return pipeline
  }
}
