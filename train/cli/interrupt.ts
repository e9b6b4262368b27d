/** Stops a command on a signal, and keeps it running when nobody reads its output any more. */

import { constants } from 'node:os'

/** A wrapper may pass on a signal that the terminal has sent already. Only a later one means "quit at once". */
const SAME_SIGNAL_MS = 300

/** Signals that ask a process to end: of a job scheduler, of a terminal that closes, and of Ctrl-\. */
const REQUESTS = ['SIGTERM', 'SIGHUP', 'SIGQUIT'] as const

/**
 * Aborts on the first SIGINT, SIGTERM, SIGHUP or SIGQUIT, so that the command can save and end. A SIGINT after that
 * quits at once with exit code 130. After the other signals the exit code is 128 and the signal's number, as shells and
 * job schedulers expect it, unless an error ends the command.
 */
export function abortOnSignal(say: (line: string) => void = console.error): AbortSignal {
  const abort = new AbortController()
  let first = 0
  process.on('SIGINT', () => {
    if (abort.signal.aborted) return Date.now() - first > SAME_SIGNAL_MS ? process.exit(130) : undefined
    first = Date.now()
    abort.abort()
    say('stopping after the steps in flight; press Ctrl-C again to quit at once')
  })
  for (const signal of REQUESTS)
    process.on(signal, () => {
      process.exitCode = 128 + constants.signals[signal]
      first = Date.now()
      abort.abort()
    })
  return abort.signal
}
