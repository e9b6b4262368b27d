/** Kills a pretraining run at random moments until it is done, and compares it with a run that was never killed. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Purpose, RandomStream } from '../../engine/index.js'

export interface KillLoop {
  /** Options of `pretrain` without --out. */
  args: string[]
  /** Folder of the run that is killed. */
  out: string
  /** The number of SIGKILLs. */
  kills: number
  seed: number
  /** The moment of a kill is drawn from 0 to this, milliseconds after the first sign of training. */
  mostMs: number
}

export interface Ended {
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
}

/** Runs `pretrain` in its own process. @param watch called with all of stderr so far whenever it grows */
export function pretrainProcess(
  args: string[],
  watch?: (stderr: string, kill: (signal: NodeJS.Signals) => void) => void,
): Promise<Ended> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'train/cli/pretrain.ts', ...args, '--no-tune'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = { stdout: '', stderr: '' }
  child.stdout.on('data', (text: Buffer) => (ended.stdout += text.toString()))
  child.stderr.on('data', (text: Buffer) => {
    ended.stderr += text.toString()
    watch?.(ended.stderr, (signal) => child.kill(signal))
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ ...ended, code, signal }))
  })
}

/**
 * Runs, kills and resumes until the number of kills is reached, then lets the run end.
 *
 * @returns the last process, and how many were killed
 */
export async function killAtRandom({
  args,
  out,
  kills,
  seed,
  mostMs,
}: KillLoop): Promise<{ last: Ended; killed: number }> {
  const random = new RandomStream(seed, Purpose.subset)
  let killed = 0
  for (;;) {
    const resumable = existsSync(join(out, 'checkpoints')) && (await checkpointsOf(out)).length > 0
    let timer: NodeJS.Timeout | undefined
    const last = await pretrainProcess(
      resumable ? ['--resume', '--out', out] : [...args, '--out', out],
      (stderr, kill) => {
        if (killed >= kills || timer || !/^(recorded|resumed) /m.test(stderr)) return
        timer = setTimeout(() => kill('SIGKILL'), random.integer(mostMs))
      },
    )
    clearTimeout(timer)
    if (last.signal !== 'SIGKILL') return { last, killed }
    killed++
  }
}

const checkpointsOf = async (out: string): Promise<string[]> =>
  (await readdir(join(out, 'checkpoints'))).filter((name) => name.startsWith('step-'))

/** What must be equal in two runs of one configuration: the weights, the state, and the figures of every step. */
export async function resultsOf(out: string): Promise<Record<string, string>> {
  const newest = (await checkpointsOf(out)).sort().pop()!
  const results: Record<string, string> = { newest }
  for (const file of ['model.safetensors', 'state.safetensors'])
    results[file] = (await readFile(join(out, 'checkpoints', newest, file))).toString('base64')
  results.online = await readFile(join(out, 'online.jsonl'), 'utf8').catch(() => 'none')
  const lines = (await readFile(join(out, 'metrics.jsonl'), 'utf8')).trimEnd().split('\n')
  results.metrics = lines
    .map((line) => {
      const { step, epoch, loss, lr } = JSON.parse(line) as Record<string, number>
      return [step, epoch, loss, lr].join(' ')
    })
    .join('\n')
  return results
}

/** Files that a run does not have: locks and temporary files. */
export async function remainsIn(out: string): Promise<string[]> {
  const names = await readdir(out, { recursive: true })
  return names.filter((name) => /(^|\/)\./.test(name))
}
