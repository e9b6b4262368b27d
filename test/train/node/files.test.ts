import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { thisProcess } from '../../../engine/node/process_identity.mjs'
import { removeAbandoned, temporaryBeside } from '../../../engine/node/temporary.mjs'
import { withPredictedNames } from '../../support/predicted_names.js'
import { checkFolder, readJson, readWhole, writeAtomically, writeFolderAtomically } from '../../../train/node/files.js'

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

test.each([0, 1, 6, 7, 8, 14, 15, 100])('a file of %i bytes is read whole in pieces of 7', async (size) => {
  const bytes = Buffer.from(Array.from({ length: size }, (_, i) => i))
  const path = join(folder, 'large')
  await writeFile(path, bytes)
  expect((await readWhole(path, 7)).equals(bytes)).toBe(true)
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

test('writeFolderAtomically keeps a whole folder that another process has published meanwhile', async () => {
  const path = join(folder, 'set')
  const publish = (name: string) =>
    writeFolderAtomically(path, (temporary) => writeFile(join(temporary, name), ''), {
      isWhole: async () => existsSync(join(path, 'first')),
    })
  await writeFolderAtomically(path, async (temporary) => {
    await writeFile(join(temporary, 'damaged'), '')
  })
  await publish('first')
  await publish('second')
  expect(await readdir(path)).toEqual(['first'])
  expect(await readdir(folder)).toEqual(['set'])
})

test('writeFolderAtomically leaves nothing when the disk is full, whoever handles signals', async () => {
  const failing = writeFolderAtomically(
    join(folder, 'set'),
    async (temporary) => {
      await writeFile(join(temporary, 'half'), '')
      throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
    },
    { finishOnSignal: true },
  )
  await expect(failing).rejects.toThrow('no space')
  expect(await readdir(folder)).toEqual([])
})

test('removeAbandoned removes what no living process owns, and nothing else', async () => {
  const { pid, started } = thisProcess
  const mine = temporaryBeside(join(folder, 'mine'))
  const dead = mine.replace(`-${pid}-${started}-`, `-${2 ** 22 + 1}-1-`).replace('.mine.', '.dead.')
  const reused = mine.replace(`-${started}-`, '-1-').replace('.mine.', '.reused.')
  const foreign = mine.replace(/\.[0-9a-f]{8}-/, '.00000000-').replace('.mine.', '.foreign.')
  const old = join(folder, `.model.${2 ** 22 + 1}-0123abcd.tmp`)
  const others = ['.hidden.tmp', 'file.tmp', '.lock'].map((name) => join(folder, name))
  for (const path of [mine, foreign, ...others]) await writeFile(path, '')
  await symlink(folder, reused)
  await mkdir(join(dead, 'inside'), { recursive: true })
  await mkdir(old)
  await removeAbandoned(folder)
  const left = (await readdir(folder)).sort()
  expect(left).toEqual([mine, foreign, ...others].map((path) => path.slice(folder.length + 1)).sort())
})

test('checkFolder says that a file system is read-only, and refuses an empty name', async () => {
  await expect(checkFolder('--out', '')).rejects.toThrow('--out: names no folder')
  // Folders of the kernel cannot be written to, by nobody.
  const refused = checkFolder('--out', '/proc/self/fd/out').catch((error: Error) => error.message)
  if (existsSync('/proc/self')) expect(await refused).toMatch(/^--out \/proc\/self\/fd\/out: cannot be written to \(E/)
})

test('a link at a temporary name that somebody has guessed is not followed', async () => {
  const victim = join(folder, 'victim')
  await mkdir(victim)
  await writeFile(join(victim, 'file'), 'untouched')
  const place = join(folder, 'place')
  await mkdir(place)
  await withPredictedNames(async () => {
    await symlink(join(victim, 'file'), temporaryBeside(join(place, 'file')))
    await expect(writeAtomically(join(place, 'file'), 'evil')).rejects.toThrow('EEXIST')
    await symlink(victim, temporaryBeside(join(place, 'set')))
    const fill = (temporary: string) => writeFile(join(temporary, 'file'), 'evil')
    await expect(writeFolderAtomically(join(place, 'set'), fill)).rejects.toThrow('EEXIST')
  })
  expect(await readFile(join(victim, 'file'), 'utf8')).toBe('untouched')
  expect(await readdir(place)).toEqual([])
})
