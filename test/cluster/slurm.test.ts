/** Runs as tasks of a real Slurm: arrays, failures, requeues and limits of time. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { launchRuns, type Launched, type LaunchOptions } from '../../bench/launch/launcher.js'
import { newestJob } from '../../bench/launch/records.js'
import { slurmLauncher } from '../../bench/launch/slurm.js'
import { logFile, readStatus } from '../../bench/launch/tasks.js'
import { keyOf, type RunRequest } from '../../bench/runs/cached_runs.js'
import { Interrupted, namedSplits, Runs } from '../../bench/runs/runs.js'
import { resolveConfig, type PartialConfig } from '../../train/config/config.js'
import { slurmOptions } from '../../train/node/slurm/options.js'
import { arrayScript } from '../../train/node/slurm/script.js'
import { queuedTasks, submitScript } from '../../train/node/slurm/slurm.js'
import type { Engine } from '../../engine/index.js'
import { engineOfProcesses } from '../support/engine.js'
import { writeSmallCifar } from '../support/small_cifar.js'
import { startSlurm, whyNoPmix, whyNoSlurm, type SlurmCluster } from './slurm_cluster.js'

const reason = whyNoSlurm()
/** Settled when a job that waits for its end has been warned and started again. */
let limited: Promise<void> | undefined
const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
let cluster: SlurmCluster

beforeAll(async () => {
  if (reason) return
  writeSmallCifar(join(folder, 'data'), 48)
  cluster = await startSlurm()
  process.env.SLURM_CONF = cluster.env.SLURM_CONF
  limited = limitedJob()
  limited.catch(() => undefined)
})
afterAll(async () => {
  await cluster?.stop()
  delete process.env.SLURM_CONF
  rmSync(folder, { recursive: true, force: true })
})

const request = (options: PartialConfig): RunRequest => ({
  config: resolveConfig({
    ...{ data: 'cifar10', dataDir: join(folder, 'data'), width: 4, batch: 8, views: 2, projectorDim: 8 },
    ...{ augmentation: { size: 8 }, checkpointEvery: 1000 },
    ...options,
  }),
  readout: { views: 1, seeds: 1, epochs: 2, knn: true },
})
const launched = (request: RunRequest, work = 1): Launched => ({ requests: [request], work })

function setup(name: string, signal = new AbortController().signal): { options: LaunchOptions; said: string[] } {
  const said: string[] = []
  const root = join(folder, name, 'runs')
  const say = (line: string): void => void said.push(line)
  return { options: { name, root, folder: join(folder, name, 'launches'), signal, say }, said }
}

const launcher = slurmLauncher({ slurm: slurmOptions({}), everyMs: 300 })

let own: Promise<Engine> | undefined
afterAll(async () => (await own)?.close())

/** The state of a run that is made in this process, without an interruption. */
async function reference(wanted: RunRequest) {
  const runs = new Runs({
    engine: await (own ??= engineOfProcesses()),
    root: join(folder, 'reference'),
    splits: namedSplits(),
  })
  return filesOf(await runs.run(wanted), runs.folderOf(wanted.config))
}

function filesOf(result: Awaited<ReturnType<Runs['run']>>, run: string) {
  if ('error' in result) throw new Error(result.error)
  const { step, top1, knn20 } = result.readings[0]
  const checkpoint = join(run, 'checkpoints', `step-${String(step).padStart(8, '0')}`)
  const [model, state] = ['model', 'state'].map((name) => readFileSync(join(checkpoint, `${name}.safetensors`)))
  return { step, top1, knn20, model, state }
}

/** A job that ends only when it is warned. The second time it ends at once. It takes no processor time while it waits. */
async function limitedJob(): Promise<void> {
  const program = join(folder, 'limit.sh')
  writeFileSync(
    program,
    `[ -n "$SLURM_RESTART_COUNT" ] && { echo began again; exit 0; }
echo began
trap 'kill $pause; exit 143' TERM
sleep 600 & pause=$!
wait
`,
  )
  const script = arrayScript({
    ...{ name: 'limit', count: 1, log: join(folder, 'limit-%a.log'), command: ['bash', program] },
    ...{ options: slurmOptions({ time: '1' }), warningSeconds: 50 },
  })
  writeFileSync(join(folder, 'limit-job.sh'), script)
  const id = await submitScript(join(folder, 'limit-job.sh'))
  while ((await queuedTasks(id)).size) await sleep(300)
}

const name = reason ? `runs on Slurm (skipped: ${reason})` : 'runs on Slurm'
describe.skipIf(reason !== undefined)(name, () => {
  test(
    'a job array makes each run; a lost command finds the job again; a failure is told by run',
    { timeout: 180_000 },
    async () => {
      const [good, bad] = [request({ steps: 4 }), request({ steps: 4, lr: 1e30 })]
      const lost = new AbortController()
      const first = setup('array', lost.signal)
      const following = launchRuns(launcher, [launched(good), launched(bad)], first.options)
      while (!first.said.some((line) => line.startsWith('job '))) await sleep(50)
      lost.abort()
      await expect(following).rejects.toBeInstanceOf(Interrupted)

      const second = setup('array')
      const runs = await launchRuns(launcher, [launched(good), launched(bad)], second.options)
      const [id] = /\d+/.exec(first.said[0])!
      expect(second.said).toEqual([`following job ${id}, which is in the queue already`])
      expect(filesOf(await runs.run(good), join(first.options.root, keyOf(good.config)))).toEqual(await reference(good))
      expect(await runs.run(bad)).toMatchObject({ error: expect.stringMatching(/^the loss is \S+ at step/) })
    },
  )

  test('a run that is requeued, and one that is warned, resume with the same bits', async () => {
    const [requeued, warned] = [1, 2].map((seed) => request({ steps: 200, seed }))
    const { options } = setup('requeue')
    const making = launchRuns(launcher, [launched(requeued), launched(warned)], options)
    let job: Awaited<ReturnType<typeof newestJob>>
    while (!(job = await newestJob(options.folder))) await sleep(50)
    const { id, launch } = job
    const trains = async (task: number): Promise<void> => {
      while (!((await readStatus(launch, task))?.done ?? 0)) await sleep(50)
    }
    await Promise.all([
      trains(0).then(() => cluster.run('scontrol', ['requeue', `${id}_0`])),
      // The signal that Slurm sends before the time of a job ends.
      trains(1).then(() => cluster.run('scancel', ['--batch', '--signal=USR2', `${id}_1`])),
    ])
    const runs = await making
    expect(await queuedTasks(id)).toEqual(new Map())
    const logs = [0, 1].map((task) => readFileSync(logFile(launch, task), 'utf8'))
    expect(logs[0]).toMatch(/saved: .*\n[^]*done: /)
    expect(logs[1]).toMatch(/the time of this job ends: the run is saved and goes back to the queue\n[^]*done: /)
    for (const one of [requeued, warned])
      expect(filesOf(await runs.run(one), join(options.root, keyOf(one.config)))).toEqual(await reference(one))
  }, 300_000)

  const noPmix = whyNoPmix()
  const ranks = `srun starts the ranks of a run${noPmix ? ` (skipped: ${noPmix})` : ''}`
  test.skipIf(noPmix !== undefined)(
    ranks,
    async () => {
      const out = join(folder, 'ranks')
      const config = ['--width', '4', '--image-size', '8', '--views', '2', '--projector-dim', '8', '--batch', '8']
      const job = ['--slurm', '--ranks-per-node', '2', '--data-dir', join(folder, 'data'), '--out', out]
      const program = ['engine/node/webgpu_ssl.mjs', 'pretrain', ...job, ...config, '--steps', '3', '--no-tune']
      // Another user's memory of ranks is not always allowed in a container.
      const env = { ...process.env, PMIX_MCA_gds: 'hash' }
      const said = execFileSync(process.execPath, program, { encoding: 'utf8', env })
      const [, id] = /^job (\d+)/.exec(said)!
      while ((await queuedTasks(id)).size) await sleep(300)
      const log = readFileSync(join(out, 'slurm.log'), 'utf8')
      expect(log).toContain('2 ranks (openmpi)')
      const lines = readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n')
      expect(lines, log).toHaveLength(3)
    },
    180_000,
  )

  test('a job whose limit of time comes is warned, goes back to the queue and is started again', async () => {
    await limited
    expect(readFileSync(join(folder, 'limit-0.log'), 'utf8')).toMatch(
      /^began\n[^]*goes back to the queue\n[^]*began again\n/,
    )
  }, 180_000)
})
