/** What a user can rely on: a run survives kills, closed pipes and a second run on its folder. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Purpose, RandomStream } from '../../../engine/index.js'
import { encodeRecords } from '../../../train/data/cifar_records.js'
import { killAtRandom, pretrainProcess, remainsIn, resultsOf } from '../../support/kill_loop.js'

/** SIGKILLs in `a killed run`. `npm run torture` raises it. */
const KILLS = Number(process.env.WEBGPU_SSL_TORTURE_KILLS ?? 3)
const IMAGES = 24

let folder: string
const at = (...names: string[]) => join(folder, ...names)
const options = (epochs: number, every: number) => [
  ...['--data-dir', at('data'), '--width', '4', '--image-size', '8', '--views', '2', '--projector-dim', '8'],
  ...['--batch', '8', '--epochs', String(epochs), '--checkpoint-every', String(every)],
]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-trust-'))
  await mkdir(at('data'))
  const stream = new RandomStream(1, Purpose.subset)
  const pixels = Uint8Array.from({ length: IMAGES * 3072 }, () => stream.integer(256))
  const labels = Array.from({ length: IMAGES }, (_, i) => i % 10)
  await writeFile(at('data', 'data_batch_1.bin'), encodeRecords(pixels, labels))
})
afterAll(() => rm(folder, { recursive: true }))

test('a killed run resumes bit for bit, and leaves no remains', { timeout: 60_000 + 20_000 * KILLS }, async () => {
  const args = options(20, 1)
  const whole = await pretrainProcess([...args, '--out', at('whole')])
  expect(whole, whole.stderr).toMatchObject({ code: 0 })
  const { last, killed } = await killAtRandom({ args, out: at('killed'), kills: KILLS, seed: 5, mostMs: 1200 })
  expect(last, last.stderr).toMatchObject({ code: 0 })
  expect(killed).toBeGreaterThan(0)
  expect(await resultsOf(at('killed'))).toEqual(await resultsOf(at('whole')))
  expect(await remainsIn(at('killed'))).toEqual([])
})

test('a run whose reader is gone goes on, and saves on SIGHUP', { timeout: 60_000 }, async () => {
  const out = at('unread')
  const args = [...options(100_000, 100_000), '--out', out, '--no-tune']
  const child = spawn(process.execPath, ['--import', 'tsx', 'train/cli/pretrain.ts', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  // The reader ends when it has seen the first step.
  let seen = ''
  await new Promise<void>((resolve) => {
    child.stderr.on('data', (text: Buffer) => {
      seen += text.toString()
      if (/^step 1 /m.test(seen)) resolve()
    })
  })
  child.stderr.destroy()
  child.stdout.destroy()

  const second = await pretrainProcess([...options(1, 1), '--out', out])
  expect(second).toMatchObject({ code: 1, stdout: '' })
  expect(second.stderr).toMatch(
    new RegExp(`^error: --out ${out} is in use by process ${child.pid} since .*: wait for it, or stop it$`, 'm'),
  )

  child.kill('SIGHUP')
  const [code] = (await once(child, 'exit')) as [number | null]
  expect(code).toBe(129)
  expect(await readdir(join(out, 'checkpoints'))).toHaveLength(1)
  expect(await remainsIn(out)).toEqual([])
})

test('a folder that cannot be written to is found before anything is loaded', async () => {
  const refused = async (out: string) => {
    const ended = await pretrainProcess(['--data-dir', at('nowhere'), '--out', out])
    expect(ended).toMatchObject({ code: 1, stdout: '' })
    return ended.stderr
  }
  await writeFile(at('file'), '')
  expect(await refused(at('file', 'run'))).toBe(
    `error: --out ${at('file', 'run')}: ${at('file')} is a file: choose another folder\n`,
  )
  expect(await refused('')).toBe("error: --out '': the value is empty\n")
  if (existsSync('/proc/self'))
    expect(await refused('/proc/self/fd/run')).toMatch(/^error: --out \/proc\/.* \(E[A-Z]+\)/)
})
