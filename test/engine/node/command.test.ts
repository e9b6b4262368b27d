/** Messages of the library on the command line. */
import { spawnSync } from 'node:child_process'
import { existsSync, openSync } from 'node:fs'
import { expect, test, vi } from 'vitest'
import { Command } from 'commander'
import { asCommandLine, optionOf, parseOptions, printable, sayOn, wrapped } from '../../../engine/node/command.js'

test('options that the library quotes get their dashes', () => {
  expect(optionOf('weightDecay')).toBe('--weight-decay')
  expect(asCommandLine('`viewChunk` 3: must divide the number of views, `views` 4')).toBe(
    '--view-chunk 3: must divide the number of views, --views 4',
  )
})

test('other quotes stay', () => {
  const message = "a.yaml: 'width' is not a number; run `npm run pretrain`"
  expect(asCommandLine(message)).toBe(message)
})

test('control characters of names are escaped', () => {
  expect(printable('a\x1b[31m\tb\n\x07\x9b\u202e.jpg: ü — 漢')).toBe(
    'a\\u001b[31m\\tb\\n\\u0007\\u009b\\u202e.jpg: ü — 漢',
  )
})

test('printed lines have no control characters but their ends', () => {
  const written: string[] = []
  const stream = { write: (text: string) => written.push(text) } as unknown as NodeJS.WriteStream
  sayOn(stream, 'saved in runs/\x1b[31m\nnext')
  expect(written).toEqual(['saved in runs/\\u001b[31m\nnext\n'])
})

test('an empty value of an option is refused', () => {
  const command = (): Command => new Command('test').option('--data-dir <folder>').option('--out <folder>', '', 'runs')
  vi.spyOn(process, 'argv', 'get').mockReturnValue(['node', 'test', '--data-dir', ''])
  expect(() => parseOptions(command())).toThrow("--data-dir '': the value is empty")
  vi.spyOn(process, 'argv', 'get').mockReturnValue(['node', 'test', '--out', 'x'])
  expect(parseOptions(command())).toEqual({ out: 'x' })
})

test('long lines are broken between words, and no word is cut', () => {
  const text = 'three words and\n  an indented line with a/path/that/is/longer/than/all/columns'
  expect(wrapped(text, 16).split('\n')).toEqual([
    'three words and',
    '  an indented',
    '  line with',
    '  a/path/that/is/longer/than/all/columns',
  ])
  expect(wrapped(text, 200)).toBe(text)
})

test.skipIf(!existsSync('/dev/full'))(
  'output on a full disk ends the command when it has done its work, with one line',
  () => {
    const url = new URL('../../../engine/node/command.js', import.meta.url).href
    const code = `const { runCommand } = await import('${url}')
    await runCommand(async () => { console.log('lost'); await new Promise((done) => setTimeout(done, 50)); console.error('work done') })`
    const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
      stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'],
      encoding: 'utf8',
    })
    expect(stderr.trim().split('\n')).toEqual([
      'work done',
      'error: some of the output could not be written (ENOSPC): there is no space left; the command itself is done',
    ])
    expect(status).toBe(1)
  },
)
