import { ESLint } from 'eslint'
import { expect, test } from 'vitest'

const eslint = new ESLint()

/** The rules that a line of code breaks when it stands in a file. */
async function broken(filePath: string, code: string): Promise<(string | null)[]> {
  const [{ messages }] = await eslint.lintText(`${code}\n`, { filePath })
  return messages.map(({ ruleId }) => ruleId)
}

test.each([
  // shaders <- engine <- models <- train <- bench
  ['engine/x.ts', `export * from '../models/index.js'`],
  ['engine/ops/x.ts', `export * from '../../train/files.js'`],
  ['engine/node/x.ts', `export * from '../../models/index.js'`],
  ['models/x.ts', `export * from '../train/pretrain.js'`],
  ['train/data/x.ts', `export * from '../../bench/steps.js'`],
  ['train/node/x.ts', `export * from '../../bench/steps.js'`],
  ['train/cli/x.ts', `export * from '../../bench/steps.js'`],
  ['bench/x.ts', `export * from '../test/support/engine.js'`],
  // Node in code for browsers.
  ['engine/x.ts', `export * from 'node:fs'`],
  ['engine/ops/x.ts', `export * from 'fs/promises'`],
  ['engine/x.ts', `export * from './node/index.js'`],
  ['engine/ops/x.ts', `export * from '../node/index.js'`],
  ['models/x.ts', `export * from '../engine/node/index.js'`],
  ['models/x.ts', `export * from 'path'`],
  ['train/index.ts', `export * from './node/index.js'`],
  ['train/index.ts', `export * from '../engine/node/index.js'`],
  ['train/run/x.ts', `export * from 'node:fs/promises'`],
  ['train/run/x.ts', `export * from '../node/files.js'`],
  ['train/data/x.ts', `export * from '../cli/common.js'`],
  ['train/data/x.ts', `export * from '../../engine/node/index.js'`],
  ['train/report/x.ts', `export { default } from 'sharp'`],
  ['train/node/x.ts', `export * from '../cli/common.js'`],
  ['train/node/data/x.ts', `export * from '../../cli/common.js'`],
  // The measurements of bench/ do not know each other.
  ['bench/sweep/x.ts', `export * from '../paper/experiment.js'`],
  ['bench/sweep/x.ts', `export * from '../speed/report.js'`],
  ['bench/paper/x.ts', `export * from '../speed/report.js'`],
  ['bench/paper/experiments/x.ts', `export * from '../../sweep/file.js'`],
  ['bench/speed/x.ts', `export * from '../paper/report.js'`],
  ['bench/runs/x.ts', `export * from '../sweep/file.js'`],
  ['bench/speed/peers/x.ts', `export * from '../cli.js'`],
  ['test/x.ts', `export * from '../bench/speed/cli.js'`],
])('%s must not: %s', async (file, code) => {
  expect(await broken(file, code)).toEqual(['no-restricted-imports'])
})

test.each([
  ['engine/x.ts', `export const load = () => import('node:fs')`, 'no-restricted-syntax'],
  ['engine/x.ts', `export const load = () => import('../train/files.js')`, 'no-restricted-syntax'],
  ['train/data/x.ts', `export const load = () => import('../node/data/stl10.js')`, 'no-restricted-syntax'],
  ['bench/sweep/x.ts', `export const load = () => import('../paper/report.js')`, 'no-restricted-syntax'],
  ['models/x.ts', `export const { env } = process`, 'no-restricted-globals'],
  ['train/report/x.ts', `export const bytes = Buffer.from('')`, 'no-restricted-globals'],
])('%s must not, in another form: %s', async (file, code, rule) => {
  expect(await broken(file, code)).toEqual([rule])
})

test.each([
  ['engine/node/x.ts', `export * from 'node:fs'`],
  ['engine/node/x.ts', `export * from '../standalone/index.js'`],
  ['models/x.ts', `export * from '../engine/index.js'`],
  ['train/x.ts', `export * from '../engine/index.js'`],
  ['train/data/x.ts', `export * from '../augment/draw.js'`],
  ['train/run/x.ts', `export { parse } from 'yaml'`],
  ['train/node/x.ts', `export * from '../../engine/node/index.js'`],
  ['train/node/data/x.ts', `export * from 'node:fs'`],
  ['train/node/x.ts', `export const { env } = process`],
  ['train/cli/x.ts', `export * from '../node/files.js'`],
  ['train/cli/x.ts', `export * from 'node:fs'`],
  ['bench/x.ts', `export * from '../train/pretrain.js'`],
  ['bench/sweep/x.ts', `export * from '../runs/runs.js'`],
  ['bench/paper/experiments/x.ts', `export * from '../report.js'`],
  ['bench/paper/x.ts', `export * from '../../train/cli/common.js'`],
  ['test/x.ts', `export * from '../bench/steps.js'`],
  ['test/bench/x.ts', `export * from '../../train/cli/common.js'`],
])('%s may: %s', async (file, code) => {
  expect(await broken(file, code)).toEqual([])
})
