/** The scripts of the README are files that run, and stand in it word for word. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')

describe.each(['own_images', 'own_images_pretrain'])('%s.ts', (name) => {
  const file = new URL(`${name}.ts`, import.meta.url)
  const text = readFileSync(file, 'utf8')

  test('stands in the README, in at most 30 lines', () => {
    expect(readme).toContain(text.replace("'../../train/index.js'", "'webgpu-ssl'"))
    expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(30)
  })

  test('trains on its own images', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', fileURLToPath(file)])
    const losses = stdout
      .trim()
      .split('\n')
      .map((line) => Number(line.split(' ').pop()))
    expect(losses.length).toBeGreaterThanOrEqual(3)
    expect(losses.every((loss) => Number.isFinite(loss) && loss > 0)).toBe(true)
  })
})
