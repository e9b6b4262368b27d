import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { makeUpRun } from '../node/watch/made_up_runs.js'

const script = fileURLToPath(new URL('../../../train/cli/watch.ts', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-watch-cli-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Starts the command; `line` is its first line on stdout. */
function start(...args: string[]) {
  const child = spawn(process.execPath, ['--import', 'tsx', script, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const line = new Promise<string>((resolve) => child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())))
  const end = new Promise<{ code: number | null; stderr: string }>((resolve) =>
    child.on('close', (code) => resolve({ code, stderr })),
  )
  return { child, line, end }
}

test('prints the address in one line, serves the page and ends on Ctrl-C', async () => {
  makeUpRun(join(folder, 'run')).growTo(3)
  const { child, line, end } = start(folder, '--port', '0')
  const [, url] = /^Watching .* on (http:\/\/127\.0\.0\.1:\d+\/) \(Ctrl-C ends it\)\n$/.exec(await line)!
  expect(await (await fetch(url)).text()).toContain('<title>Runs')
  // A page that follows does not keep the command alive.
  await fetch(`${url}api/events`)
  child.kill('SIGINT')
  expect(await end).toEqual({ code: 0, stderr: '' })
})

test.each([
  [['/nowhere'], 'error: /nowhere: there is no such folder\n'],
  [['--port', 'x'], "error: --port: 'x' is not a port: give a number from 0 to 65535\n"],
  [['--port', '70000'], "error: --port: '70000' is not a port: give a number from 0 to 65535\n"],
])('%j is refused in one line', async (args, message) => {
  expect(await start(...args).end).toEqual({ code: 1, stderr: message })
})
