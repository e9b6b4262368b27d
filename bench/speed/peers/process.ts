/** The benchmark's side of a peer's process. It restarts a process that has ended. */
import { spawn, spawnSync, type ChildProcessByStdio } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Answer, Hello, Request } from './peer.js'

/** Command line of a peer's process. */
export interface Start {
  command: string
  args: readonly string[]
}

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** A peer in TypeScript. `name` is its file in this folder. */
export const nodePeer = (name: string, args: readonly string[] = []): Start => ({
  command: process.execPath,
  args: ['--import', import.meta.resolve('tsx'), file(name), ...args],
})

/** PyTorch with the first `python3` of PATH that has it; undefined if none has it. */
export function torchPeer(): Start | undefined {
  const pythons = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'python3'))
  const command = pythons.find(
    (python) =>
      existsSync(python) && spawnSync(python, ['-c', 'import torch, numpy'], { stdio: 'ignore' }).status === 0,
  )
  return command === undefined ? undefined : { command, args: [file('pytorch.py')] }
}

/** A peer failed to answer a request. `lost`: its process has ended. */
export class PeerError extends Error {
  override name = 'PeerError'

  constructor(
    message: string,
    readonly lost: boolean,
  ) {
    super(message)
  }
}

const START_SECONDS = 120

export class PeerProcess {
  private child: ChildProcessByStdio<Writable, Readable, Readable> | undefined
  private waiting: ((line: string | undefined) => void) | undefined
  private lastWords = ''

  constructor(private readonly start: Start) {}

  /** Starts the process and returns its first line. */
  private async open(): Promise<Hello> {
    const child = spawn(this.start.command, this.start.args, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.child = child
    child.stderr.on('data', (text: Buffer) => (this.lastWords = text.toString().trim().split('\n').at(-1) ?? ''))
    // Writing to a process that has just ended fails; the exit is handled below.
    child.stdin.on('error', () => undefined)
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith('@')) this.answered(line.slice(1))
    })
    const ended = (): void => {
      if (this.child !== child) return
      this.child = undefined
      this.answered(undefined)
    }
    child.on('error', ended)
    child.on('exit', ended)
    return (await this.answer(START_SECONDS, 'starting')) as Hello
  }

  private answered(line: string | undefined): void {
    const { waiting } = this
    this.waiting = undefined
    waiting?.(line)
  }

  private async answer(seconds: number, doing: string): Promise<Answer | Hello> {
    let timer: NodeJS.Timeout | undefined
    const line = await Promise.race([
      new Promise<string | undefined>((resolve) => (this.waiting = resolve)),
      new Promise<'late'>((resolve) => (timer = setTimeout(() => resolve('late'), seconds * 1000))),
    ])
    clearTimeout(timer)
    if (line === 'late') {
      this.close()
      throw new PeerError(`${doing} took over ${seconds} s`, true)
    }
    if (line === undefined)
      throw new PeerError(`${doing} ended its process${this.lastWords && `: ${this.lastWords}`}`, true)
    const answer = JSON.parse(line) as Answer | Hello
    if ('error' in answer && answer.error !== undefined) throw new PeerError(answer.error, false)
    return answer
  }

  /** Starts the process and returns the peer's name, version and device. */
  async hello(): Promise<Hello> {
    return this.open()
  }

  get running(): boolean {
    return this.child !== undefined
  }

  /** @throws PeerError if the peer fails, ends or takes longer than `seconds` */
  async ask(request: Request, seconds: number): Promise<Answer> {
    if (!this.child) await this.open()
    const answering = this.answer(seconds, request.do === 'prepare' ? 'preparing it' : 'running it')
    this.child?.stdin.write(`${JSON.stringify(request)}\n`)
    return (await answering) as Answer
  }

  /** Kills the process. */
  close(): void {
    const { child } = this
    this.child = undefined
    this.waiting = undefined
    child?.kill('SIGKILL')
  }
}
