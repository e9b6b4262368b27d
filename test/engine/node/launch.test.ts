/** What the launcher passes on: stderr without the driver's own lines, exit codes and signals. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { withoutDriverLines } from '../../../engine/node/driver_lines.mjs'

const KNOWN =
  'Warning: maxDynamicUniformBuffersPerPipelineLayout artificially reduced from 1000000 to 16 to fit dynamic offset allocation limit.\n'

describe('the filter', () => {
  /** What comes out after each piece, and at the end. */
  const filtered = (pieces: (string | Uint8Array)[]): string[] => {
    const filter = withoutDriverLines()
    const out = pieces.map((piece) => filter.push(Buffer.from(piece as string)))
    return [...out, filter.end()].map((bytes) => bytes.toString())
  }

  test('drops the known lines, also when they come byte by byte', () => {
    const other = KNOWN.replace('Uniform', 'Storage')
    expect(filtered([KNOWN + other + 'kept\n'])).toEqual(['kept\n', ''])
    expect(filtered([...`a\n${KNOWN}b\n`]).join('')).toBe('a\nb\n')
  })

  test('passes on everything else at once, byte for byte', () => {
    expect(filtered(['step 1', ' of 5', '\rdone'])).toEqual(['step 1', ' of 5', '\rdone', ''])
    expect(filtered(['Warning: other\nWarning: max'])).toEqual(['Warning: other\n', 'Warning: max'])
    expect(filtered([`text ${KNOWN}`])).toEqual([`text ${KNOWN}`, ''])
    expect(filtered([KNOWN.replace('16', 'many')]).join('')).toBe(KNOWN.replace('16', 'many'))
    const [first, ...rest] = Buffer.from('é\n')
    const filter = withoutDriverLines()
    const bytes = [filter.push(Uint8Array.of(first)), filter.push(Uint8Array.from(rest)), filter.end()]
    expect(Buffer.concat(bytes).toString()).toBe('é\n')
  })
})

describe('a command', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-launch-'))
    await writeFile(
      join(folder, 'script.ts'),
      `import { writeSync } from 'node:fs'
      console.error('mine', process.stderr.isTTY)
      writeSync(2, ${JSON.stringify(KNOWN)} + 'native\\n')
      const how: string = process.argv[2]
      if (how === 'throw') throw new Error('fatal')
      if (how === 'long') process.stderr.write('x'.repeat(300_000) + 'end\\n')
      if (how === 'wait') {
        process.on('SIGTERM', () => process.exit(143))
        console.log('ready')
        setInterval(() => console.error('still'), 20)
      } else process.exit(7)`,
    )
  })
  afterAll(() => rm(folder, { recursive: true }))

  interface Ended {
    code: number | null
    stderr: string
  }

  const launch = (how: string, onReady?: (child: ReturnType<typeof spawn>) => void): Promise<Ended> => {
    const args = ['engine/node/launch.mjs', join(folder, 'script.ts'), how, '--help']
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let stderr = ''
    child.stderr.on('data', (bytes: Buffer) => (stderr += bytes.toString()))
    child.stdout.on('data', () => onReady?.(child))
    return new Promise((resolve) => child.on('exit', (code) => setTimeout(() => resolve({ code, stderr }), 50)))
  }

  test('keeps its exit code, its own stderr, other native lines and long output', async () => {
    const { code, stderr } = await launch('long')
    expect(code).toBe(7)
    expect(stderr).toContain('mine false\n')
    expect(stderr).toContain('native\n')
    // The native line goes another way, so it may come in the middle of a long one.
    expect(stderr.replace('native\n', '')).toContain(`${'x'.repeat(300_000)}end\n`)
    expect(stderr).not.toContain('maxDynamic')
  })

  test("passes on Node's own fatal message", async () => {
    const { code, stderr } = await launch('throw')
    expect(code).toBe(1)
    expect(stderr).toMatch(/Error: fatal\n/)
  })

  test('gets SIGTERM, also when nobody reads its stderr any more', async () => {
    const { code } = await launch('wait', (child) => {
      child.stderr!.destroy()
      setTimeout(() => child.kill('SIGTERM'), 300)
    })
    expect(code).toBe(143)
  })
})
