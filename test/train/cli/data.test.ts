import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CIFAR10_RECORDS, recordBytes } from '../../../train/data/cifar_records.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-command-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** Runs the command as npm does. Resolves with its output, rejects when it exits with an error. */
const data = (...args: string[]) =>
  promisify(execFile)(process.execPath, ['--import', 'tsx', 'train/cli/data.ts', ...args])

test('prints the contents of a folder, and exits 1 with one line when the folder is empty', async () => {
  const line = `error: ${join(folder, 'data_batch_1.bin')} is missing; the train split needs it (CIFAR-10, binary version)\n`
  await expect(data('cifar10', '--data-dir', folder)).rejects.toMatchObject({ code: 1, stdout: '', stderr: line })

  await writeFile(join(folder, 'data_batch_1.bin'), new Uint8Array(1200 * recordBytes(CIFAR10_RECORDS)))
  const { stdout, stderr } = await data('cifar10', '--data-dir', folder)
  expect(stderr).toBe('')
  expect(stdout.split('\n').slice(0, 3)).toEqual([
    `cifar10: ${folder}`,
    'train 1,200 images of 32×32 pixels',
    'test  none',
  ])
  expect(stdout).toContain('10 classes: airplane, automobile,')
})

test('exits 1 with one line for an unknown data set', async () => {
  const stderr = expect.stringMatching(/^error: unknown data set "mnist"; known: .*cifar10.*\n$/)
  await expect(data('mnist')).rejects.toMatchObject({ code: 1, stdout: '', stderr })
})

test('says where to put a data set that is not downloaded, and what is wrong with its archive', async () => {
  const empty = join(folder, 'empty')
  await mkdir(empty)
  const line = new RegExp(`^error: STL-10 is not in ${empty}: download http://ai\\.stanford\\.edu/[^\n]*\n$`)
  await expect(data('stl10', '--data-dir', empty)).rejects.toMatchObject({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(line),
  })
  await writeFile(join(empty, 'cifar-100-binary.tar.gz'), 'half of it')
  const official =
    'not the official 58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec: download it again from https://www.cs.toronto.edu/'
  await expect(data('cifar100', '--data-dir', empty)).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining(official),
  })
})
