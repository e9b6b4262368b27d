/** The scripts of the README are files that run, and stand in it word for word. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')

const packages = {
  '../../train/node/index.js': 'webgpu-ssl',
  '../../train/index.js': 'webgpu-ssl/train',
  '../../engine/standalone/index.js': 'webgpu-ssl/kernels',
}

describe.each(['own_images', 'own_images_pretrain', 'own_page', 'own_kernel'])('%s.ts', (name) => {
  const text = readFileSync(new URL(`${name}.ts`, import.meta.url), 'utf8')

  test('stands in the README, in at most 30 lines', () => {
    const imported = Object.entries(packages).reduce((all, [from, to]) => all.replace(`'${from}'`, `'${to}'`), text)
    expect(readme).toContain(imported)
    expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(30)
  })
})

test('the lines of Python stand in the README; test/models/torchvision.test.ts runs them', () => {
  expect(readme).toContain(readFileSync(new URL('load_in_torchvision.py', import.meta.url), 'utf8'))
})

test('CI tries every command of the READMEs', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-readme-'))
  const script = fileURLToPath(new URL('../../.ci/readme_commands.mjs', import.meta.url))
  // No command has this text, so none is run.
  const { stdout } = await promisify(execFile)(process.execPath, [script, folder, folder, 'no such text'])
  await rm(folder, { recursive: true })
  expect(stdout).toMatch(/^all \d+ commands of the READMEs are known/)
})

const outputOf = async (name: string): Promise<string> => {
  const file = fileURLToPath(new URL(`${name}.ts`, import.meta.url))
  return (await promisify(execFile)(process.execPath, ['--import', 'tsx', file])).stdout
}

test('a kernel runs on a device and buffers of its own', async () => {
  expect(await outputOf('own_kernel')).toBe('c[0, 0] = 8\n')
})

/** The numbers at the ends of the lines. */
const lastNumbers = (stdout: string): number[] =>
  stdout
    .trim()
    .split('\n')
    .map((line) => Number(line.split(' ').pop()))

test('the first script trains on its own images, and its loss falls', async () => {
  const [count, ...losses] = lastNumbers(await outputOf('own_images_pretrain')).reverse()
  losses.reverse()
  expect(count).toBe(64 * 64)
  expect(losses).toHaveLength(20)
  const mean = (part: number[]): number => part.reduce((a, b) => a + b) / part.length
  expect(mean(losses.slice(-5))).toBeLessThan(0.85 * mean(losses.slice(0, 5)))
})

test('the loop of the second script trains on its own images', async () => {
  const [count, ...losses] = lastNumbers(await outputOf('own_images')).reverse()
  expect(count).toBe(64 * 64)
  expect(losses).toHaveLength(3)
  expect(losses.every((loss) => Number.isFinite(loss) && loss > 0)).toBe(true)
})
