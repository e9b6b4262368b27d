/** A file of JSON lines that another process appends to: each poll reads only what is new. */
import { lstat, open, type FileHandle } from 'node:fs/promises'
import type { Stats } from 'node:fs'

/** One line: an object with the step that it describes. */
export interface Line {
  step: number
  [field: string]: unknown
}

export interface LineSink {
  line(line: Line): void
  /** The file was replaced, cut or deleted: all lines before are void. */
  reset(): void
}

const CHUNK_BYTES = 1 << 20
/** The last line is looked for in the end of the file; a line of diagnostics has about 1 KiB. */
const END_BYTES = 1 << 16
/** A longer line is no line of a run. */
const LONGEST_LINE = 1 << 24
/** Bytes before the offset that are compared, to notice a file that was rewritten in place. */
const COMPARED_BYTES = 64
const NEWLINE = 10
const nothing = Buffer.alloc(0)

export class LineFile {
  /** The last whole line. */
  latest?: Line
  /** When the file was last written, milliseconds since 1970; 0 where there is none. */
  changedAt = 0
  #seen?: Stats
  #loaded = false
  #offset = 0
  /** Begin of a line whose end is not written yet. */
  #half = nothing
  /** The bytes before `#offset`. */
  #before = nothing

  constructor(
    readonly path: string,
    readonly sink: LineSink,
  ) {}

  /** Reads the whole file now and its new lines at each later poll; before, only the last line is read. */
  async load(): Promise<void> {
    if (this.#loaded) return
    this.#loaded = true
    this.#seen = undefined
    await this.poll()
  }

  /** Reads what changed since the last poll. Returns whether anything did. */
  async poll(): Promise<boolean> {
    const stats = await lstat(this.path).catch(() => undefined)
    // Symbolic links are not followed: they could lead out of the given folders.
    if (!stats?.isFile()) return this.#absent()
    const before = this.#seen
    if (before && before.size === stats.size && before.mtimeMs === stats.mtimeMs && before.ino === stats.ino)
      return false
    const handle = await open(this.path).catch(() => undefined)
    if (!handle) return this.#absent()
    try {
      if (this.#loaded) await this.#readNew(handle, stats, before)
      else this.latest = await lastLine(handle, stats.size)
    } finally {
      await handle.close()
    }
    this.#seen = stats
    this.changedAt = stats.mtimeMs
    return true
  }

  #absent(): boolean {
    if (!this.#seen) return false
    this.#restart()
    this.#seen = undefined
    this.changedAt = 0
    return true
  }

  #restart(): void {
    this.latest = undefined
    this.#offset = 0
    this.#half = this.#before = nothing
    this.sink.reset()
  }

  async #readNew(handle: FileHandle, stats: Stats, before: Stats | undefined): Promise<void> {
    const replaced = (before && before.ino !== stats.ino) || stats.size < this.#offset
    if (replaced || !(await this.#continues(handle))) this.#restart()
    while (this.#offset < stats.size) {
      const chunk = await readAt(handle, this.#offset, Math.min(CHUNK_BYTES, stats.size - this.#offset))
      if (chunk.length === 0) break
      this.#offset += chunk.length
      this.#before = Buffer.concat([this.#before, chunk]).subarray(-COMPARED_BYTES)
      this.#take(chunk)
    }
  }

  async #continues(handle: FileHandle): Promise<boolean> {
    const { length } = this.#before
    return length === 0 || (await readAt(handle, this.#offset - length, length)).equals(this.#before)
  }

  #take(chunk: Buffer): void {
    const end = chunk.lastIndexOf(NEWLINE)
    if (end < 0) {
      this.#half = this.#half.length > LONGEST_LINE ? nothing : Buffer.concat([this.#half, chunk])
      return
    }
    const whole = Buffer.concat([this.#half, chunk.subarray(0, end)])
    this.#half = Buffer.from(chunk.subarray(end + 1))
    for (const text of whole.toString().split('\n')) {
      const line = parseLine(text)
      if (!line) continue
      this.latest = line
      this.sink.line(line)
    }
  }
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  const { bytesRead } = await handle.read(buffer, 0, length, position)
  return buffer.subarray(0, bytesRead)
}

/** The last line of a file that ends with a line end. */
async function lastLine(handle: FileHandle, size: number): Promise<Line | undefined> {
  const end = await readAt(handle, Math.max(0, size - END_BYTES), Math.min(END_BYTES, size))
  const whole = end.subarray(0, end.lastIndexOf(NEWLINE) + 1).toString()
  const lines = whole.split('\n')
  for (let i = lines.length - 1; i >= 0; i--) {
    const line = parseLine(lines[i])
    if (line) return line
  }
  return undefined
}

function parseLine(text: string): Line | undefined {
  try {
    const line = JSON.parse(text) as Line | null
    return typeof line?.step === 'number' ? line : undefined
  } catch {
    // Not a line of a run, or damaged by a crash.
    return undefined
  }
}
