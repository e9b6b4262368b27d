/** Copies of Variables on the device, to go back to them. */
import { STORAGE_USAGE } from './bindings.js'
import type { Engine } from './engine.js'
import type { Variable } from './leaves.js'

export class Snapshot {
  private readonly pairs: { own: GPUBuffer; copy: GPUBuffer }[]

  /** @param variables whose buffers are copied; a Variable of an arena stands for the whole arena */
  constructor(
    private readonly engine: Engine,
    variables: readonly Variable[],
  ) {
    const buffers = new Set(variables.map((v) => engine.bufferOf(v)))
    this.pairs = [...buffers].map((own) => ({ own, copy: engine.createBuffer(own.size, STORAGE_USAGE, 'snapshot') }))
  }

  /** Keeps the current values. Wait for earlier runs first. */
  take(): void {
    this.copy(({ own, copy }) => [own, copy])
  }

  /** Sets the Variables to the values that were kept. */
  restore(): void {
    this.copy(({ own, copy }) => [copy, own])
  }

  private copy(fromTo: (pair: { own: GPUBuffer; copy: GPUBuffer }) => [GPUBuffer, GPUBuffer]): void {
    const encoder = this.engine.device.createCommandEncoder()
    for (const pair of this.pairs) {
      const [from, to] = fromTo(pair)
      encoder.copyBufferToBuffer(from, 0, to, 0, pair.own.size)
    }
    this.engine.device.queue.submit([encoder.finish()])
  }

  release(): void {
    for (const { copy } of this.pairs) copy.destroy()
  }
}
