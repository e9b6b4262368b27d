// Names a process so that another process, also a later one, can say whether it still lives. Only Node built-ins: the
// launcher runs this before `npm ci` has installed anything.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'

/** `started` says when the process started, in clock ticks since the boot of the machine; '0' where the system does not
 * tell. A later process may have the same pid, but not the same start. `job` names the Slurm job of the process, and says
 * how often Slurm had started that job again.
 * @typedef {{ host: string, pid: number, started: string, job?: { id: string, restarts: number } }} ProcessIdentity */

/** Field 22 of /proc/PID/stat. Field 2 may hold spaces and parentheses. @param {number} pid */
function startOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return '0'
  }
}

/** @param {NodeJS.ProcessEnv} env @returns {ProcessIdentity['job']} */
export const jobOf = ({ SLURM_JOB_ID, SLURM_RESTART_COUNT = '0' }) =>
  SLURM_JOB_ID ? { id: SLURM_JOB_ID, restarts: Number(SLURM_RESTART_COUNT) } : undefined

const job = jobOf(process.env)

/** @type {ProcessIdentity} */
export const thisProcess = {
  ...{ host: hostname(), pid: process.pid, started: startOf(process.pid) },
  ...(job && { job }),
}

/** Whether a process lives. @param {ProcessIdentity} identity
 * @returns {'alive' | 'dead' | 'unknown'} 'unknown' if it is of another machine */
export function liveness({ host, pid, started, job: other }) {
  // Slurm ends a job on its old machine before it starts it on another.
  if (host !== thisProcess.host)
    return job && other?.id === job.id && other.restarts < job.restarts ? 'dead' : 'unknown'
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: the process lives, and belongs to another user.
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EPERM') return 'dead'
  }
  const now = startOf(pid)
  return started !== '0' && now !== '0' && now !== started ? 'dead' : 'alive'
}

/** The name of a machine as a few letters that may be part of a file name. @param {string} host */
export const hostTag = (host) => createHash('sha256').update(host).digest('hex').slice(0, 8)
