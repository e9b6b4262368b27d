/** `bench` as a user runs it. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const bench = (...args: string[]) =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', 'bench/speed/cli.ts', ...args], {
    env: { ...process.env, WEBGPU_SSL_DEBUG: '' },
  })

test('--help lists all benchmarks', async () => {
  const { stdout } = await bench('--help')
  const all = [
    'peers',
    'kernels',
    'step',
    'losses',
    'readout',
    'precision',
    'memory',
    'speedrun',
    'trace',
    'smoke',
    'gpu',
  ]
  for (const name of all) expect(stdout).toMatch(new RegExp(`^  ${name} +\\S`, 'm'))
})

test.each([
  ['trace', '--json', 'x', '--json is not for trace: it takes --out, --force, --rounds, --only and --tune'],
  [
    'step',
    '--out',
    'x',
    '--out is not for step: it takes --json, --plots, --force, --only, --rounds, --quick and --tune',
  ],
  [
    'kernels',
    '--lend-rest',
    '--lend-rest is not for kernels: it takes --json, --plots, --force, --only, --rounds, --quick and --tune',
  ],
  ['precision', '--rounds', '3', '--rounds is not for precision: it takes --json, --force, --quick and --data-dir'],
  ['gpu', '--json', 'x', '--json is not for gpu: it takes --out, --force, --minutes, --stage, --data-dir and --quick'],
  ['gpu', '--minutes', '9', 'gpu: name the folder of the results with --out'],
  ['gpu', '--out', 'x', '--minutes', '0', '--minutes 0: must be more than 0'],
  ['step', '--rounds', '1.5', '--rounds 1.5: must be a whole number of at least 1'],
])('%s %s: an option of another benchmark is refused in one line', async (...args) => {
  const line = args.pop()
  await expect(bench(...args)).rejects.toMatchObject({ code: 1, stdout: '', stderr: `error: ${line}\n` })
})
