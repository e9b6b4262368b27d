/** A small share of `npm run torture -- servers`. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startWatchServer, type WatchServer } from '../../train/node/watch/server.js'
import { makeUpRun } from '../train/node/watch/made_up_runs.js'
import { attackServer } from './server_attacks.js'

let folder: string
let server: WatchServer
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-attacked-'))
  makeUpRun(join(folder, 'runs', 'a')).growTo(100)
  writeFileSync(join(folder, 'secret.txt'), 'the secret')
  server = await startWatchServer([join(folder, 'runs')], { port: 0, interval: 50, requestMs: 500 })
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

test('the server refuses or answers every attack, and answers others meanwhile', async () => {
  const target = {
    secret: 'the secret',
    secretPath: join(folder, 'secret.txt'),
    seed: 1,
    share: 0.05,
    patienceMs: 5000,
  }
  const results = await attackServer({ ...target, port: Number(new URL(server.url).port) }, () => undefined)
  expect(results.filter(({ failures }) => failures.length > 0)).toEqual([])
  expect(results.reduce((sum, { refused }) => sum + refused, 0)).toBeGreaterThan(300)
  expect(results.reduce((sum, { answered }) => sum + answered, 0)).toBeGreaterThan(10)
})
