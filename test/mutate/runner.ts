/** Runs test files in a copy of the working tree, in a process that is replaced when it hangs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Answer, Request } from './host.js'

/** Seconds that a run may still take after its first failure, before its process is replaced. */
const TO_END = 20

export type Failure = NonNullable<Outcome['failed']>
export interface Outcome {
  /** The first failure, if there was one. */
  readonly failed?: { readonly test: string; readonly message: string }
}

/** Whether a failure says that something took too long. A busy machine can be the reason. */
export const isLate = ({ test, message }: Failure): boolean => test === LATE || /timed out in/.test(message)
/** Whether Vitest could not start its process, which is the fault of a busy machine and no verdict on a mutant. */
export const isNoVerdict = ({ message }: Failure): boolean => message.startsWith('[vitest-pool]')
const LATE = 'time limit'

export class Runner {
  private child: ChildProcess | undefined

  /** @param record whether to record what each test file uses, in the file `MUTATE_COVERAGE` of `env` */
  constructor(
    private readonly folder: string,
    private readonly record = false,
    private readonly env: Readonly<Record<string, string>> = {},
  ) {}

  private async start(): Promise<ChildProcess> {
    const host = join(this.folder, 'test/mutate/host.ts')
    const child = spawn(process.execPath, ['--import', 'tsx', host, this.record ? 'record' : 'run'], {
      cwd: this.folder,
      // A group of its own, so that Vitest's processes end with it.
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      env: { ...process.env, ...this.env },
    })
    await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(([code]) => Promise.reject(new Error(`Vitest did not start (exit code ${code})`))),
    ])
    return child
  }

  /** Ends the process and all that it has started. */
  stop(): void {
    const { child } = this
    this.child = undefined
    if (child?.pid === undefined || child.exitCode !== null) return
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch {
      child.kill('SIGKILL')
    }
  }

  /** @param limit seconds after which the run counts as hung, which is a failure */
  async run(request: Request, limit: number): Promise<Outcome> {
    const child = (this.child ??= await this.start())
    return new Promise((resolve) => {
      let failed: Outcome['failed']
      const end = (healthy: boolean): void => {
        clearTimeout(timer)
        child.off('message', answered)
        child.off('exit', died)
        if (!healthy) this.stop()
        resolve({ failed })
      }
      const late = (): void => {
        failed ??= { test: LATE, message: `no end after ${limit.toFixed(0)} s` }
        end(false)
      }
      const died = (): void => {
        failed ??= { test: 'process', message: 'the process ended' }
        end(false)
      }
      const answered = (answer: Answer): void => {
        if ('done' in answer) return end(true)
        if (failed) return
        failed = answer.failed
        if (this.record) return
        clearTimeout(timer)
        timer = setTimeout(late, 1000 * TO_END)
      }
      let timer = setTimeout(late, 1000 * limit)
      child.on('message', answered)
      child.on('exit', died)
      child.send(request)
    })
  }
}
