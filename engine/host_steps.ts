/** The steps of the host in one run of a program: numbers that leave the device, work on them, numbers that come back. */
import { upload } from './bindings.js'
import type { Engine } from './engine.js'
import type { Exchange, HostStep, Slice } from './plan.js'

export class HostSteps {
  private next = 0
  private readonly results = new Map<Exchange, Promise<Float32Array>>()
  /** Resolves when the work of every exchange that has departed so far has begun. */
  private begun: Promise<unknown> = Promise.resolve()

  constructor(
    private readonly engine: Engine,
    private readonly steps: readonly HostStep[],
    private readonly locate: (slice: Slice) => { buffer: GPUBuffer; offset: number },
  ) {}

  /** Does the steps that come before a dispatch, once all earlier dispatches are submitted. */
  async before(dispatch: number): Promise<void> {
    for (; this.steps[this.next]?.at <= dispatch; this.next++) {
      const step = this.steps[this.next]
      if (step.kind === 'depart') this.depart(step)
      else await this.arrive(step)
    }
  }

  private depart({ exchange, slices }: HostStep): void {
    const reading = this.engine.readTogether(slices.map((slice) => ({ ...this.locate(slice), bytes: slice.bytes })))
    // Exchanges begin in the order in which they depart: the ranks of a collective must agree about it.
    const beginning = this.begun.then(async () => ({ result: exchange.work(await reading) }))
    const result = beginning.then((work) => work.result)
    // The error is thrown where the result is awaited.
    for (const promise of [reading, beginning, result]) promise.catch(() => undefined)
    this.begun = beginning
    this.results.set(exchange, result)
  }

  private async arrive({ exchange, slices }: HostStep): Promise<void> {
    const data = await this.results.get(exchange)!
    this.engine.check()
    let at = 0
    for (const slice of slices) {
      const { buffer, offset } = this.locate(slice)
      const count = slice.bytes / 4
      upload(this.engine.device, buffer, offset, data.subarray(at, at + count), this.engine.copyBytes)
      at += count
    }
    if (at !== data.length) throw new Error(`an exchange gave ${data.length} numbers for ${at}`)
  }
}
