/** Stops a command on SIGINT or SIGTERM. */

/** A wrapper may pass on a signal that the terminal has sent already. Only a later one means "quit at once". */
const SAME_SIGNAL_MS = 1000

/** The exit code of a process that SIGTERM has stopped, as shells and job schedulers expect it. */
const TERMINATED = 143

/**
 * Aborts on the first SIGINT or SIGTERM, so that the command can save and end. A SIGINT more than a second later quits
 * at once with exit code 130. After SIGTERM the exit code is 143, unless an error ends the command.
 */
export function abortOnSignal(say: (line: string) => void = console.error): AbortSignal {
  const abort = new AbortController()
  let first = 0
  process.on('SIGINT', () => {
    if (abort.signal.aborted) return Date.now() - first > SAME_SIGNAL_MS ? process.exit(130) : undefined
    say('stopping after the steps in flight; press Ctrl-C again to quit at once')
    first = Date.now()
    abort.abort()
  })
  process.on('SIGTERM', () => {
    process.exitCode = TERMINATED
    abort.abort()
  })
  return abort.signal
}
