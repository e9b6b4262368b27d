/** Limits how much work of one kind is under way. */
export class AtOnce {
  private running = 0
  private readonly waiting: (() => void)[] = []

  constructor(private readonly most: number) {}

  /** Does the work when fewer than `most` are under way, in the order of the calls. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    while (this.running >= this.most) await new Promise<void>((resolve) => this.waiting.push(resolve))
    this.running++
    try {
      return await work()
    } finally {
      this.running--
      this.waiting.shift()?.()
    }
  }
}
