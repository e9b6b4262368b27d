import { ESLint } from 'eslint'
import { expect, test } from 'vitest'

const eslint = new ESLint()

/** The rules that a line of code breaks when it stands in a file. */
async function broken(filePath: string, code: string): Promise<(string | null)[]> {
  const [{ messages }] = await eslint.lintText(`${code}\n`, { filePath })
  return messages.map(({ ruleId }) => ruleId)
}

test.each([
  ['engine/x.ts', `export * from '../models/index.js'`],
  ['engine/ops/x.ts', `export * from '../../train/files.js'`],
  ['engine/node/x.ts', `export * from '../../models/index.js'`],
  ['models/x.ts', `export * from '../train/pretrain.js'`],
  ['train/data/x.ts', `export * from '../../bench/steps.js'`],
  ['bench/x.ts', `export * from '../test/support/engine.js'`],
  ['engine/x.ts', `export * from 'node:fs'`],
  ['engine/ops/x.ts', `export * from 'fs/promises'`],
  ['engine/x.ts', `export * from './node/index.js'`],
  ['models/x.ts', `export * from '../engine/node/index.js'`],
  ['models/x.ts', `export * from 'path'`],
])('%s: %s breaks the one-way line', async (file, code) => {
  expect(await broken(file, code)).toEqual(['no-restricted-imports'])
})

test.each([
  ['engine/x.ts', `export const load = () => import('node:fs')`, 'no-restricted-syntax'],
  ['engine/x.ts', `export const load = () => import('../train/files.js')`, 'no-restricted-syntax'],
  ['models/x.ts', `export const { env } = process`, 'no-restricted-globals'],
])('%s: %s is no way round it', async (file, code, rule) => {
  expect(await broken(file, code)).toEqual([rule])
})

test.each([
  ['engine/node/x.ts', `export * from 'node:fs'`],
  ['engine/node/x.ts', `export * from '../standalone/index.js'`],
  ['models/x.ts', `export * from '../engine/index.js'`],
  ['train/x.ts', `export * from '../engine/node/index.js'`],
  ['train/data/x.ts', `export * from '../augment/draw.js'`],
  ['bench/x.ts', `export * from '../train/pretrain.js'`],
  ['test/x.ts', `export * from '../bench/steps.js'`],
])('%s: %s keeps it', async (file, code) => {
  expect(await broken(file, code)).toEqual([])
})
