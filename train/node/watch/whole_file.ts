/** A file that another process replaces as a whole. */
import { lstat, readFile } from 'node:fs/promises'

export class WholeFile {
  /** Milliseconds since 1970; 0 where there is none. */
  changedAt = 0
  #size = -1

  constructor(
    readonly path: string,
    readonly largest: number,
  ) {}

  /** Whether the file changed since the last poll. Links are not followed, and too large files do not count. */
  async poll(): Promise<boolean> {
    const stats = await lstat(this.path).catch(() => undefined)
    const usable = stats?.isFile() && stats.size <= this.largest ? stats : undefined
    const changedAt = usable?.mtimeMs ?? 0
    const size = usable?.size ?? -1
    const changed = changedAt !== this.changedAt || size !== this.#size
    this.changedAt = changedAt
    this.#size = size
    return changed
  }

  async read(): Promise<Buffer | undefined> {
    await this.poll()
    return this.changedAt ? readFile(this.path).catch(() => undefined) : undefined
  }

  /** What the file holds; undefined where it is absent or cannot be parsed. */
  async parsed(parser: (text: string) => unknown): Promise<unknown> {
    try {
      return parser((await this.read())?.toString() ?? 'null')
    } catch {
      return undefined
    }
  }
}
