import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { checkFolder, readJson, writeAtomically, writeFolderAtomically } from '../../../train/node/files.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-files-'))
})
afterEach(() => rm(folder, { recursive: true }))

test('writeAtomically makes parents, replaces, and leaves no temporary file', async () => {
  const path = join(folder, 'a', 'b.txt')
  await writeAtomically(path, 'first, and longer')
  await writeAtomically(path, Uint8Array.of(0x68, 0x69))
  expect(await readFile(path, 'utf8')).toBe('hi')
  expect(await readdir(join(folder, 'a'))).toEqual(['b.txt'])
})

test('writeAtomically that fails leaves nothing behind', async () => {
  const path = join(folder, 'taken')
  await mkdir(join(path, 'inside'), { recursive: true })
  await expect(writeAtomically(path, 'x')).rejects.toThrow()
  expect(await readdir(folder)).toEqual(['taken'])
  expect(await readdir(path)).toEqual(['inside'])
})

test('writeFolderAtomically shows a folder only when it is complete, and replaces the old one', async () => {
  const path = join(folder, 'set')
  await writeFolderAtomically(path, async (temporary) => {
    await writeFile(join(temporary, 'one'), '1')
    expect(await readdir(folder)).not.toContain('set')
  })
  await writeFolderAtomically(path, (temporary) => writeFile(join(temporary, 'two'), '2'))
  expect(await readdir(folder)).toEqual(['set'])
  expect(await readdir(path)).toEqual(['two'])
})

test('writeFolderAtomically that fails keeps the old folder and nothing else', async () => {
  const path = join(folder, 'set')
  await writeFolderAtomically(path, (temporary) => writeFile(join(temporary, 'old'), ''))
  const failing = writeFolderAtomically(path, async (temporary) => {
    await writeFile(join(temporary, 'new'), '')
    throw new Error('disk full')
  })
  await expect(failing).rejects.toThrow('disk full')
  expect(await readdir(folder)).toEqual(['set'])
  expect(await readdir(path)).toEqual(['old'])
})

test('checkFolder refuses a path that cannot become a folder, and makes nothing', async () => {
  const file = join(folder, 'file')
  await writeFile(file, '')
  await checkFolder('--out', join(folder, 'a', 'b'))
  expect(existsSync(join(folder, 'a'))).toBe(false)
  for (const path of [file, join(file, 'a', 'b')])
    await expect(checkFolder('--out', path)).rejects.toThrow(`--out ${path}: ${file} is a file: choose another folder`)
})

test('readJson names a missing or malformed file', async () => {
  const path = join(folder, 'x.json')
  await expect(readJson(path)).rejects.toThrow(`${path}: there is no such file`)
  await expect(readJson(folder)).rejects.toThrow(`${folder}: cannot be read (EISDIR)`)
  await writeFile(path, '{"a": ')
  await expect(readJson(path)).rejects.toThrow(`${path}: not valid JSON`)
  await writeFile(path, '{"a": [1]}')
  expect(await readJson(path)).toEqual({ a: [1] })
})
