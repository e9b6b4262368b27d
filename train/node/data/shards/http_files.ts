/** Files of an http(s) server, read by range requests. A request that fails is repeated with growing pauses. */
import { setTimeout as pause } from 'node:timers/promises'
import { LostDataError, type Split } from '../../../data/dataset.js'
import { AtOnce } from './at_once.js'
import { splitOf, type ShardSource } from './shard_source.js'

/** Pauses before a request is repeated, in milliseconds: a server that restarts is back before they end. */
const PAUSES_MS = [500, 1000, 2000, 4000, 8000, 16_000]
/** A request that takes longer is repeated. */
const TIMEOUT_MS = 60_000
/** Requests at once. */
const AT_ONCE = 32

/** An answer that will not change when the request is repeated. */
class FinalAnswer extends Error {}

export class HttpFiles implements ShardSource {
  private readonly turns = new AtOnce(AT_ONCE)
  private cancelled = new AbortController()

  /** @param pauses before each repeated request, in milliseconds */
  constructor(
    readonly name: string,
    private readonly files?: readonly string[],
    private readonly pauses: readonly number[] = PAUSES_MS,
  ) {}

  pathOf(file: string): string {
    return `${this.name}/${file}`
  }

  list(split: Split): Promise<string[] | undefined> {
    return Promise.resolve(this.files?.filter((name) => splitOf(name) === split))
  }

  look(file: string): Promise<{ bytes: number } | undefined> {
    return this.repeated(file, { headers: { range: 'bytes=0-0' } }, async (answer) => {
      await answer.body?.cancel()
      if (answer.status === 404 || answer.status === 410) return undefined
      return { bytes: this.sizeOf(file, answer) }
    })
  }

  read(file: string, { start, end, bytes }: { start: number; end: number; bytes: number }): Promise<Buffer> {
    return this.repeated(file, { headers: { range: `bytes=${start}-${end - 1}` } }, async (answer) => {
      const size = this.sizeOf(file, answer)
      if (size !== bytes)
        throw new FinalAnswer(`${this.pathOf(file)}: has ${size} bytes, and had ${bytes} when it was indexed`)
      const body = Buffer.from(await answer.arrayBuffer())
      if (body.length !== end - start) throw new Error(`answers ${body.length} of ${end - start} bytes`)
      return body
    })
  }

  cancel(): void {
    this.cancelled.abort()
    this.cancelled = new AbortController()
  }

  /** The size of the whole file, from the answer to a range request. */
  private sizeOf(file: string, { status, headers }: Response): number {
    const path = this.pathOf(file)
    if (status === 200)
      throw new FinalAnswer(`${path}: the server ignores range requests; use another server, or download the shards`)
    const size = /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1]
    // 429 and server errors pass.
    if (status === 429 || status >= 500) throw new Error(`status ${status}`)
    if (status !== 206 || size === undefined) throw new FinalAnswer(`${path}: the server answers with status ${status}`)
    return Number(size)
  }

  /** @throws LostDataError in one line */
  private async repeated<T>(file: string, request: RequestInit, use: (answer: Response) => Promise<T>): Promise<T> {
    const { signal } = this.cancelled
    return this.turns.run(async () => {
      for (let tries = 0; ; tries++)
        try {
          const limit = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)])
          return await use(await fetch(this.pathOf(file), { ...request, signal: limit }))
        } catch (error) {
          if (signal.aborted) throw new LostDataError(`${this.pathOf(file)}: reading was cancelled`)
          if (error instanceof FinalAnswer) throw new LostDataError(error.message)
          if (tries === this.pauses.length)
            throw new LostDataError(`${this.pathOf(file)}: ${reason(error)}, also after ${tries + 1} tries`, {
              cause: error,
            })
          // Where the pause is cancelled, the next try is too.
          await pause(this.pauses[tries], undefined, { signal }).catch(() => undefined)
        }
    })
  }
}

function reason(error: unknown): string {
  const { name, message, cause } = error as Error
  if (name === 'TimeoutError') return `no answer within ${TIMEOUT_MS / 1000} s`
  const code = (cause as { code?: string } | undefined)?.code
  return code ?? message.split('\n')[0]
}
