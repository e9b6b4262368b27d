/** Compute pipelines and bind group layouts of one device, each made once. */
import type { Constants, KernelLibrary } from './kernel.js'

/** A key that two dispatches share exactly when one pipeline serves both. */
export const pipelineKey = (kernel: string, constants: Constants): string =>
  kernel + JSON.stringify(Object.entries(constants).sort(([a], [b]) => (a < b ? -1 : 1)))

/**
 * Builds pipelines on a device, one a specialisation, however many programs ask for it.
 * Bind group layouts are explicit: an operand that a specialisation ignores stays in the layout.
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
      const visibility = 4 // GPUShaderStage.COMPUTE, spelled out because Node has no such global
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
      // One that failed is not kept: the next program that asks shall hear the error itself.
      pipeline.catch(() => this.pipelines.delete(key))
    }
    return pipeline
  }
}
