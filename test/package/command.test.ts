/** The command `webgpu-ssl` as it lies in a clone. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const run = (...args: string[]) =>
  new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, ['engine/node/webgpu_ssl.mjs', ...args], (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    )
  })

test('--version prints the version, --help one line for each command and the exit codes', async () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
  expect(await run('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  const { code, stdout } = await run('--help')
  expect(code).toBe(0)
  for (const name of 'pretrain probe embed views data watch bench paper sweep doctor'.split(' '))
    expect(stdout).toMatch(new RegExp(`^  ${name} +[a-z].+$`, 'm'))
  expect(stdout).toMatch(/143/)
  expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80)
})

test('an unknown command is one line with a suggestion', async () => {
  expect(await run('pretrian')).toEqual({
    code: 1,
    stdout: '',
    stderr: "error: unknown command 'pretrian': did you mean pretrain? (webgpu-ssl --help lists all)\n",
  })
  expect((await run('xyzzy')).stderr).toBe("error: unknown command 'xyzzy' (webgpu-ssl --help lists all)\n")
})

test('the npm scripts call the same commands', () => {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> }
  for (const name of ['pretrain', 'probe', 'embed', 'views', 'data', 'bench', 'paper', 'sweep', 'doctor'])
    expect(scripts[name]).toBe(`node engine/node/webgpu_ssl.mjs ${name}`)
})

test('the help of a command names the whole command', async () => {
  const { code, stdout } = await run('pretrain', '--help')
  expect(code).toBe(0)
  expect(stdout).toMatch(/^Usage: webgpu-ssl pretrain \[options\]/)
})
