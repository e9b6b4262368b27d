/** `web` as a user runs it. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { encodeRecords } from '../../../train/data/cifar_records.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-web-cli-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const web = (...args: string[]) =>
  new Promise<{ code: number; stdout: string; stderr: string }>((resolve) =>
    execFile(process.execPath, ['--import', 'tsx', 'train/cli/web.ts', ...args], (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    ),
  )

test('writes the page for any host', async () => {
  writeFileSync(join(folder, 'data_batch_1.bin'), encodeRecords(new Uint8Array(2 * 3072), [1, 2]))
  const out = join(folder, 'page')
  const { code, stdout, stderr } = await web('--build', out, '--data-dir', folder)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/page: the page, with 2 images of CIFAR-10\n/)
  const files = ['icon.svg', 'index.html', 'page.css', 'page.js', 'sample.json', 'sample.png', 'worker.js']
  expect(readdirSync(out).sort()).toEqual(files)
})

test.each([
  [['--port', 'x'], "--port: 'x' is not a port: give a number from 0 to 65535"],
  [['--build', 'package.json'], /^--build package\.json: .* is a file: choose another folder$/],
  [['--build', 'x', '--port', '1'], '--port: has no meaning with --build, which serves nothing'],
])('%j is refused in one line', async (args, message) => {
  const { code, stdout, stderr } = await web(...args)
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  const [, line] = /^error: (.*)\n$/.exec(stderr)!
  if (typeof message === 'string') expect(line).toBe(message)
  else expect(line).toMatch(message)
})
