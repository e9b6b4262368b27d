/** A process with a time limit. At the limit it ends, with all processes that it has started. */
import { spawn } from 'node:child_process'
import { withoutDriverLines } from '../../../engine/node/driver_lines.mjs'

/** From the request to end to the end by force. A pretraining saves its state meanwhile. */
const PATIENCE_MS = 3000
/** In which a process that has ended passes on the last that was written. */
const LAST_WORDS_MS = 300

/** Lines that say nothing about how a process ended: files written, the adapter, tables. */
const REMARK = /^\s*(wrote |Adapter: |npx |Next:|\||_|#)/

export interface ChildEnd {
  /** The exit code; null if a signal ended it. */
  code: number | null
  signal: NodeJS.Signals | null
  /** Whether its time limit ended it. */
  late: boolean
  seconds: number
  /** The last line that it wrote. */
  lastLine: string
}

/** Ends a process group. It may have ended already. */
function end(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // It has ended.
  }
}

/**
 * Runs a command to its end or to its limit.
 *
 * @param options.onText called with everything that it writes
 * @param options.signal ends it at once
 */
export function runChild(
  command: string,
  args: readonly string[],
  options: { limit: number; env: NodeJS.ProcessEnv; onText(text: string): void; signal?: AbortSignal },
): Promise<ChildEnd> {
  const begun = performance.now()
  return new Promise((resolve) => {
    // A group of its own, which can be ended as a whole.
    const child = spawn(command, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env: options.env })
    let late = false
    let lastLine = ''
    const timers: NodeJS.Timeout[] = []
    const stop = (): void => {
      if (child.pid === undefined) return
      end(child.pid, 'SIGTERM')
      timers.push(setTimeout(() => end(child.pid!, 'SIGKILL'), PATIENCE_MS))
    }
    const take = (text: string): void => {
      const said = text.split('\n').filter((line) => line.trim() && !REMARK.test(line))
      lastLine = said.pop()?.trim() ?? lastLine
      options.onText(text)
    }
    const filter = withoutDriverLines()
    child.stdout.on('data', (bytes: Buffer) => take(bytes.toString()))
    child.stderr.on('data', (bytes: Buffer) => take(filter.push(bytes).toString()))
    timers.push(
      setTimeout(() => {
        late = true
        stop()
      }, options.limit * 1000),
    )
    options.signal?.addEventListener('abort', stop, { once: true })
    const settle = (code: number | null, signal: NodeJS.Signals | null): void => {
      for (const timer of timers) clearTimeout(timer)
      options.signal?.removeEventListener('abort', stop)
      if (child.pid !== undefined) end(child.pid, 'SIGKILL')
      const seconds = (performance.now() - begun) / 1000
      setTimeout(() => resolve({ code, signal, late, seconds, lastLine }), LAST_WORDS_MS)
    }
    child.on('error', (error) => {
      lastLine = error.message
      settle(1, null)
    })
    child.on('exit', settle)
  })
}
