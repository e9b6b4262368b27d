/**
 * Submissions to the device's queue: at most two are in flight, and those of one run come without another run between
 * them.
 */

/** With two, the device has its next work when it is done with one. With more, a stop would have to wait longer. */
const MOST_IN_FLIGHT = 2

export class Submissions {
  private readonly inFlight: Promise<unknown>[] = []
  private turn: Promise<unknown> = Promise.resolve()
  private turns = 0
  private lastDone = 0

  constructor(
    private readonly device: GPUDevice,
    private readonly waitFor: <T>(done: Promise<T>) => Promise<T>,
  ) {}

  /** Whether a turn has begun or waits to begin. */
  get busy(): boolean {
    return this.turns > 0
  }

  /** Does work in a turn of its own: turns follow one another in the order of the calls. */
  async inTurn<T>(work: () => T | Promise<T>): Promise<T> {
    this.turns++
    const result = this.turn.then(work)
    this.turn = result.catch(() => undefined)
    try {
      return await result
    } finally {
      this.turns--
    }
  }

  /** Waits until fewer than two submissions are in flight. Only the turn that has begun calls it. */
  async slot(): Promise<void> {
    while (this.inFlight.length >= MOST_IN_FLIGHT) await this.inFlight.shift()
  }

  /** @returns when the submission is done, the seconds that the device worked on it */
  submit(commands: GPUCommandBuffer): Promise<number> {
    const submitted = performance.now()
    this.device.queue.submit([commands])
    const done = this.waitFor(this.device.queue.onSubmittedWorkDone()).then(() => {
      const now = performance.now()
      const seconds = (now - Math.max(submitted, this.lastDone)) / 1000
      this.lastDone = now
      return seconds
    })
    // A failure of the device is reported by `Engine.check`.
    done.catch(() => undefined)
    this.inFlight.push(done)
    return done
  }
}
