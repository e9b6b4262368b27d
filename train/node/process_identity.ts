/** Names a process so that another process, also a later one, can say whether it still lives. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

export interface ProcessIdentity {
  host: string
  pid: number
  /**
   * When the process started, in clock ticks since the boot of the machine; '0' where the system does not tell. A later
   * process may have the same pid, but not the same start.
   */
  started: string
}

/** Field 22 of /proc/PID/stat. Field 2 may hold spaces and parentheses. */
function startOf(pid: number): string {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return '0'
  }
}

export const thisProcess: ProcessIdentity = { host: hostname(), pid: process.pid, started: startOf(process.pid) }

/** Whether a process lives; 'unknown' if it is of another machine. */
export function liveness({ host, pid, started }: ProcessIdentity): 'alive' | 'dead' | 'unknown' {
  if (host !== thisProcess.host) return 'unknown'
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: the process lives, and belongs to another user.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return 'dead'
  }
  const now = startOf(pid)
  return started !== '0' && now !== '0' && now !== started ? 'dead' : 'alive'
}

/** The name of a machine as a few letters that may be part of a file name. */
export const hostTag = (host: string): string => createHash('sha256').update(host).digest('hex').slice(0, 8)
