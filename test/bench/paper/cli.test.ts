/** `paper` as a user runs it. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-paper-'))
})
afterAll(() => rm(folder, { recursive: true }))

interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

function paper(...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, ['--import', 'tsx', 'bench/paper/cli.ts', ...args], {
    env: { ...process.env, WEBGPU_SSL_DEBUG: '' },
    timeout: 90_000,
  })
  const ended: Ended = { code: null, stdout: '', stderr: '' }
  child.stdout.on('data', (text: Buffer) => (ended.stdout += text.toString()))
  child.stderr.on('data', (text: Buffer) => (ended.stderr += text.toString()))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ ...ended, code }))
  })
}

describe('an error is one line', () => {
  test.each([
    [['nonsense'], /^error: .*'nonsense' is invalid.*\n$/],
    [['views', '--dataset', 'stl10'], /^error: --dataset stl10: needs --scale full.*\n$/],
  ])('%j', async (args, line) => {
    const { code, stdout, stderr } = await paper(...args)
    expect(code).toBe(1)
    expect(stderr).toMatch(line)
    expect(stdout).toBe('')
  })

  test('missing data is reported before anything is written', async () => {
    const [out, dataDir] = [join(folder, 'unwritten'), join(folder, 'nowhere')]
    const full = ['views', '--dataset', 'stl10', '--scale', 'full']
    const { code, stderr } = await paper(...full, '--data-dir', dataDir, '--out', out, '--cache', join(out, 'runs'))
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error: .*nowhere.*\n$/m)
    expect(existsSync(out)).toBe(false)
  })
})

test('dynamics at tiny scale prints its verdict and claims, and writes a page', async () => {
  const { code, stdout, stderr } = await paper('dynamics', '--out', folder, '--cache', join(folder, 'runs'))
  expect(code, stderr).toBe(0)
  expect(stdout).toMatch(/^## Learning dynamics on the circle: agrees$/m)
  expect(stdout).toMatch(
    /^largest error .*: [\d.e-]+ \[[\d.e-]+, [\d.e-]+\] \(5 seeds\), expected below 0.02: agrees$/m,
  )
  expect(stdout).toMatch(/^\| figure \| paper \| views read \| here \| views read \| comparable \|$/m)
  const result = JSON.parse(await readFile(join(folder, 'dynamics.json'), 'utf8')) as object
  expect(result).toMatchObject({ scale: 'tiny', dataset: 'cifar10', verdict: 'agrees' })
  expect(await readFile(join(folder, 'report.html'), 'utf8')).toContain('Learning dynamics on the circle')
})
