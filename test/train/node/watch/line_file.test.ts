import { appendFileSync, mkdtempSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LineFile, type Line } from '../../../../train/node/watch/line_file.js'

let folder: string
let path: string
let lines: Line[]
let resets: number
let file: LineFile

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-lines-'))
  path = join(folder, 'metrics.jsonl')
  lines = []
  resets = 0
  file = new LineFile(path, {
    line: (line) => lines.push(line),
    reset() {
      lines = []
      resets++
    },
  })
})
afterEach(() => rmSync(folder, { recursive: true }))

const text = (from: number, to: number, loss = 1): string =>
  Array.from({ length: to - from + 1 }, (_, i) => `${JSON.stringify({ step: from + i, loss })}\n`).join('')
const steps = (): number[] => lines.map(({ step }) => step)

test('a file that is not there yet has no lines; its lines come as they are written', async () => {
  expect(await file.poll()).toBe(false)
  await file.load()
  writeFileSync(path, text(1, 2))
  expect(await file.poll()).toBe(true)
  expect(await file.poll()).toBe(false)
  appendFileSync(path, text(3, 3))
  expect(await file.poll()).toBe(true)
  expect(steps()).toEqual([1, 2, 3])
  expect(resets).toBe(0)
})

test('before it is loaded only the last whole line is known', async () => {
  writeFileSync(path, `${text(1, 5000)}{"step":5001,"lo`)
  await file.poll()
  expect(file.latest).toEqual({ step: 5000, loss: 1 })
  expect(lines).toEqual([])
  await file.load()
  expect(lines.length).toBe(5000)
})

test('a half-written line counts once it is whole, also when it is cut within a character', async () => {
  await file.load()
  const bytes = Buffer.from('{"step":1,"note":"größe"}\n')
  const cut = bytes.indexOf(0xc3) + 1
  writeFileSync(path, bytes.subarray(0, cut))
  await file.poll()
  expect(lines).toEqual([])
  appendFileSync(path, bytes.subarray(cut))
  await file.poll()
  expect(lines).toEqual([{ step: 1, note: 'größe' }])
})

test('damaged lines are left out', async () => {
  writeFileSync(path, `${text(1, 1)}{"step":2,"loss"\nnull\n7\n{"loss":3}\n\n${text(3, 3)}`)
  await file.load()
  expect(steps()).toEqual([1, 3])
})

test('a file that was cut is read anew', async () => {
  writeFileSync(path, text(1, 5))
  await file.load()
  truncateSync(path, text(1, 2).length)
  await file.poll()
  expect(steps()).toEqual([1, 2])
  expect(resets).toBe(1)
})

test('a file that was replaced by a longer one is read anew, as on resuming', async () => {
  writeFileSync(path, text(1, 5))
  await file.load()
  writeFileSync(`${path}.tmp`, text(1, 8, 2))
  renameSync(`${path}.tmp`, path)
  await file.poll()
  expect(steps()).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  expect(lines.every(({ loss }) => loss === 2)).toBe(true)
})

test('a file that was rewritten in place and grew is read anew', async () => {
  writeFileSync(path, text(1, 5))
  await file.load()
  writeFileSync(path, text(1, 8, 2))
  await file.poll()
  expect(steps().length).toBe(8)
  expect(lines.every(({ loss }) => loss === 2)).toBe(true)
})

test('a file that was deleted has no lines', async () => {
  writeFileSync(path, text(1, 5))
  await file.load()
  rmSync(path)
  expect(await file.poll()).toBe(true)
  expect(lines).toEqual([])
  expect(file.latest).toBeUndefined()
  expect(file.changedAt).toBe(0)
})

test('symbolic links are not followed', async () => {
  writeFileSync(join(folder, 'elsewhere'), text(1, 5))
  symlinkSync(join(folder, 'elsewhere'), path)
  await file.load()
  expect(lines).toEqual([])
})
