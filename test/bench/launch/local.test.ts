/** Runs in processes of this machine. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { keepEnded, launchRuns, missingRuns, type LaunchOptions } from '../../../bench/launch/launcher.js'
import { localLauncher } from '../../../bench/launch/local.js'
import { CachedRuns, keyOf, type RunRequest } from '../../../bench/runs/cached_runs.js'
import { KeptReadings } from '../../../bench/runs/kept.js'
import { Interrupted, namedSplits, Runs } from '../../../bench/runs/runs.js'
import { resolveConfig, type PartialConfig } from '../../../train/config/config.js'
import { hasCompiler, listEqualGpus } from '../../support/equal_gpus.js'
import { engineOfProcesses } from '../../support/engine.js'
import { writeSmallCifar } from '../../support/small_cifar.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
beforeAll(() => writeSmallCifar(join(folder, 'data'), 24))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const request = (options: PartialConfig): RunRequest => ({
  config: resolveConfig({
    ...{ data: 'cifar10', dataDir: join(folder, 'data'), width: 4, batch: 8, views: 2, projectorDim: 8 },
    ...{ augmentation: { size: 8 }, steps: 3 },
    ...options,
  }),
  readout: { views: 1, seeds: 1, epochs: 2, knn: true },
})
const root = join(folder, 'runs')
const options = (signal = new AbortController().signal): LaunchOptions => ({
  ...{ name: 'local', root, folder: join(folder, 'launches'), signal },
  say: () => undefined,
})
const missing = (requests: RunRequest[]) => missingRuns(root, requests, () => Promise.resolve(1))

test('two processes make the runs that this process would make, and a failure does not stop the others', async () => {
  const [good, bad] = [request({}), request({ lr: 1e30 })]
  const two = { ...good, readout: { ...good.readout, views: 2 } }
  const readings = join(folder, 'readings.jsonl')
  const kept = await KeptReadings.open(readings)
  const runs = await launchRuns(localLauncher(2), await missing([good, bad, two]), { ...options(), kept })
  expect(readFileSync(readings, 'utf8').trim().split('\n')).toHaveLength(3)
  const own = await engineOfProcesses()
  const here = new Runs({ engine: own, root: join(folder, 'here'), splits: namedSplits() })
  for (const one of [good, two]) {
    const [found, wanted] = await Promise.all([runs.run(one), here.run(one)])
    const figures = (result: typeof found) =>
      'error' in result ? result : result.readings.map(({ seconds: _, ...figures }) => figures)
    expect(figures(found)).toEqual(figures(wanted))
  }
  own.close()
  expect(await runs.run(bad)).toMatchObject({ error: expect.stringMatching(/^the loss is/) })
  // The run that failed is kept as failed: nothing is left to make.
  expect(await missing([good, bad, two])).toEqual([])

  // Another file of readings: asking what is missing, as a dry run does, writes nothing.
  const other = join(folder, 'other.jsonl')
  const keptThere = await KeptReadings.open(other)
  expect(await missingRuns(root, [good, bad, two], () => Promise.resolve(1), keptThere)).toEqual([])
  expect(existsSync(other)).toBe(false)
  await keepEnded(new CachedRuns(root, undefined, keptThere), [good, bad, two])
  expect(readFileSync(other, 'utf8').trim().split('\n')).toHaveLength(3)
})

test('a launcher that is stopped stops its processes, which save', async () => {
  const long = request({ steps: 5000 })
  const abort = new AbortController()
  const making = launchRuns(localLauncher(1), await missing([long]), options(abort.signal))
  const run = join(root, keyOf(long.config))
  while (!existsSync(join(run, 'metrics.jsonl'))) await sleep(50)
  abort.abort()
  await expect(making).rejects.toBeInstanceOf(Interrupted)
  expect(JSON.parse(readFileSync(join(run, 'summary.json'), 'utf8'))).toMatchObject({ stopped: 'signal' })
})

test.skipIf(!hasCompiler)('jobs take one each of the equal GPUs', async () => {
  const taken = join(folder, 'taken')
  const preload = join(folder, 'preload.mjs')
  writeFileSync(
    preload,
    `import { appendFileSync } from 'node:fs'\nappendFileSync(${JSON.stringify(taken)}, process.env.WEBGPU_SSL_GPU + ' ')\n`,
  )
  const { WEBGPU_SSL_GPU: _, ...rest } = process.env
  const variables = { ...rest, NODE_OPTIONS: `--import ${pathToFileURL(preload).href}` }
  const launcher = localLauncher(2, { devices: listEqualGpus(folder), variables })
  const requests = [request({ seed: 8, steps: 1 }), request({ seed: 9, steps: 1 })]
  await launchRuns(launcher, await missing(requests), options())
  expect([...new Set(readFileSync(taken, 'utf8').trim().split(' '))].sort()).toEqual(['0', '1'])
})
