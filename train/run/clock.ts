/** The training clock: what a run's time and rates are measured with. */

/** The recent rate is taken over this many steps at most. */
const RECENT_STEPS = 20

/** Measures the steps of one call of `pretrain`. Compilation, checkpoints and readouts do not count. */
export class TrainingClock {
  private readonly started = performance.now()
  private excludedMs = 0
  /** When the first step was submitted. */
  private submitted: number | undefined
  /** The training time at which each step's loss was read. */
  private readonly times: number[] = []

  /** @param secondsBefore training time of the run before it was resumed */
  constructor(
    private readonly imagesPerStep: number,
    private readonly secondsBefore = 0,
  ) {}

  /** Milliseconds on a clock that stands still during excluded work. */
  now(): number {
    return performance.now() - this.excludedMs
  }

  /** Runs work that does not count as training. */
  async exclude(work: () => Promise<void>): Promise<void> {
    const begun = performance.now()
    await work()
    this.excludedMs += performance.now() - begun
  }

  /** Notes that a step is about to be submitted. Only the first one counts. */
  stepSubmitted(): void {
    this.submitted ??= this.now()
  }

  /** Counts one more step. The first one starts the training time: compilation comes before it. */
  stepDone(): void {
    this.times.push(this.now())
  }

  /** Training time of the whole run, in seconds. */
  get seconds(): number {
    return this.secondsBefore + this.secondsHere
  }

  /** Training time of this call, in seconds. */
  get secondsHere(): number {
    return this.times.length ? (this.times[this.times.length - 1] - this.times[0]) / 1000 : 0
  }

  /** Seconds from the start of the call to the end of its first step, with compilation. */
  get secondsToFirstStep(): number {
    return this.times.length ? (this.times[0] - this.started) / 1000 : 0
  }

  /** Wall-clock seconds since the start of the call, with everything. */
  get secondsElapsed(): number {
    return (performance.now() - this.started) / 1000
  }

  /** Images per second over the last steps; after a single step, the rate of this step. */
  get recentImagesPerSecond(): number {
    if (this.times.length === 1 && this.submitted !== undefined)
      return (1000 * this.imagesPerStep) / (this.times[0] - this.submitted)
    return this.rateSince(Math.max(0, this.times.length - RECENT_STEPS))
  }

  /** Images per second over all steps of this call; 0 after a single step. */
  get imagesPerSecond(): number {
    return this.rateSince(0)
  }

  private rateSince(first: number): number {
    const last = this.times.length - 1
    return last > first ? (1000 * this.imagesPerStep * (last - first)) / (this.times[last] - this.times[first]) : 0
  }
}
