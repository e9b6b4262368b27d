/** Runs test files in a copy of the working tree, in a process that is replaced when it hangs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Answer, Request } from './host.js'

/** Seconds that a run may still take after its first failure, before its process is replaced. */
const TO_END = 4

export interface Outcome {
  /** The first failure, if there was one. */
  readonly failed?: { readonly test: string; readonly message: string }
  /** Files of all tests that failed; without `record` only of the first. */
  readonly failures: readonly string[]
  /** Seconds of each test file. */
  readonly seconds: Readonly<Record<string, number>>
}

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
      const failures: string[] = []
      const end = (seconds: Outcome['seconds'], healthy: boolean): void => {
        clearTimeout(timer)
        child.off('message', answered)
        child.off('exit', died)
        if (!healthy) this.stop()
        resolve({ failed, failures, seconds })
      }
      const late = (): void => {
        failed ??= { test: 'time limit', message: `no end after ${limit.toFixed(0)} s` }
        end({}, false)
      }
      const died = (): void => {
        failed ??= { test: 'process', message: 'the process ended' }
        end({}, false)
      }
      const answered = (answer: Answer): void => {
        if ('done' in answer) return end(answer.seconds, true)
        failures.push(answer.failed.test.split(' > ')[0])
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
