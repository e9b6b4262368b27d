/**
 * The speedrun: highest linear top-1 on CIFAR-10 after 15 minutes on this machine, from the start of a process with the
 * images in memory. The minutes include Node, compilation, training and readout, but no download.
 *
 * The choice among the arms is made on the last 5,000 training images, with the network trained and the probe fitted on
 * the other 45,000. Only the chosen arm is then trained on all 50,000 and read on the test images, with 3 seeds and with the
 * untrained network beside it. Each reading is kept in a file, so the same command continues after an interrupt.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ConfigError, type PartialConfig } from '../../train/config/config.js'
import { readJson, writeAtomically } from '../../train/node/files.js'
import { markdownTable } from '../../train/report/text.js'
import { mean } from '../report/statistics.js'

/** What a process does. */
export interface SpeedrunTask {
  config: PartialConfig
  seed: number
  /** Minutes from the start of the process to its last figure. */
  minutes: number
  /** 'held-out': part of the training images; 'test': all training images and the test images. */
  split: 'held-out' | 'test'
  /** Reads the network without training. */
  untrained?: boolean
  dataDir?: string
  adapter?: string
}

/** What a process prints. */
export interface SpeedrunReading {
  top1: number
  knn20: number
  steps: number
  /** Labelled training images of the readout: all, unless it would take too much of the time. */
  labelled: number
  /** From the start of the process, without loading the images. */
  seconds: number
  adapter: string
}

const shared: PartialConfig = {
  data: 'cifar10',
  arch: 'resnet18',
  width: 16,
  views: 4,
  batch: 64,
  projectorDim: 64,
  epochs: 1000,
  schedule: 'cosine',
  warmupEpochs: 0.2,
  checkpointEvery: 1000,
  augmentation: { size: 16 },
}

/** Every objective once, at the operating point of the first try. */
export const speedrunArms: Readonly<Record<string, PartialConfig>> = {
  'barlow-twins': { ...shared, objective: 'barlow-twins', lambda: 0.04 },
  'barlow-twins-leave-one-out': { ...shared, objective: 'barlow-twins-leave-one-out', lambda: 0.04 },
  'barlow-twins-original': { ...shared, objective: 'barlow-twins-original', lambda: 0.04, views: 2, batch: 128 },
  vicreg: { ...shared, objective: 'vicreg', lambda: 20 },
  'vicreg-original': { ...shared, objective: 'vicreg-original' },
  simclr: { ...shared, objective: 'simclr', temperature: 0.2 },
  'mv-infonce': { ...shared, objective: 'mv-infonce' },
  spectral: { ...shared, objective: 'spectral' },
  frossl: { ...shared, objective: 'frossl' },
  'emp-ssl': { ...shared, objective: 'emp-ssl', views: 8, batch: 32 },
  mmcr: { ...shared, objective: 'mmcr' },
  lejepa: { ...shared, objective: 'lejepa' },
  byol: { ...shared, objective: 'byol', views: 2, batch: 128 },
  fastsiam: { ...shared, objective: 'fastsiam' },
}

const FINAL_SEEDS = [1, 2, 3]
/** A run may take this much longer than its minutes. */
const LATE = 1.1
export const MINUTES = 15

export interface SpeedrunOptions {
  /** Folder of the readings. */
  out: string
  /** Chooses arms by name. */
  only?: string
  minutes?: number
  dataDir?: string
  adapter?: string
  onMessage(line: string): void
}

/** @returns Markdown: the arms on the held-out images, and the chosen one on the test images */
export async function speedrun({
  out,
  only,
  minutes = MINUTES,
  dataDir,
  adapter,
  onMessage,
}: SpeedrunOptions): Promise<string> {
  const names = Object.keys(speedrunArms).filter((name) => !only || name.includes(only))
  if (names.length === 0)
    throw new ConfigError(
      `--only ${only}: no arm has this in its name; the arms are ${Object.keys(speedrunArms).join(', ')}`,
    )
  await mkdir(out, { recursive: true })
  const reading = async (name: string, task: SpeedrunTask): Promise<SpeedrunReading> => {
    const file = join(out, `${name}-${task.split}-${minutes}min-seed${task.seed}.json`)
    if (existsSync(file)) return (await readJson(file)) as SpeedrunReading
    onMessage(`${name}, ${task.split}, seed ${task.seed}: ${minutes} minutes`)
    const found = await inProcess(task)
    await writeAtomically(file, `${JSON.stringify(found)}\n`)
    return found
  }
  const task = (name: string, seed: number, split: SpeedrunTask['split'], untrained = false): SpeedrunTask => ({
    ...{ config: speedrunArms[name], seed, minutes, split, untrained, dataDir, adapter },
  })
  const found: [string, SpeedrunReading][] = []
  for (const name of names) found.push([name, await reading(name, task(name, 1, 'held-out'))])
  found.sort(([, a], [, b]) => b.top1 - a.top1)
  const [chosen] = found[0]
  const finals: SpeedrunReading[] = []
  for (const seed of FINAL_SEEDS) finals.push(await reading(chosen, task(chosen, seed, 'test')))
  const untrained = await reading(`${chosen}-untrained`, task(chosen, 1, 'test', true))
  return report(minutes, found, chosen, finals, untrained)
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
const row = (name: string, r: SpeedrunReading): string[] => [
  name,
  percent(r.top1),
  percent(r.knn20),
  String(r.steps),
  r.labelled.toLocaleString('en'),
  `${(r.seconds / 60).toFixed(1)} min`,
]

function report(
  minutes: number,
  found: [string, SpeedrunReading][],
  chosen: string,
  finals: SpeedrunReading[],
  untrained: SpeedrunReading,
): string {
  const header = ['', 'linear top-1', 'kNN-20', 'steps', 'labelled images', 'time']
  const longest = Math.max(...[...found.map(([, r]) => r), ...finals].map(({ seconds }) => seconds / 60))
  return [
    `The arms after ${minutes} minutes, on 5,000 held-out training images, one seed (${untrained.adapter}):`,
    '',
    markdownTable(
      header,
      found.map(([name, r]) => row(name, r)),
    ),
    '',
    `The best of them, ${chosen}, on the 10,000 test images: mean ${percent(mean(finals.map((r) => r.top1)))} over ${finals.length} seeds.`,
    '',
    markdownTable(header, [
      ...finals.map((r, i) => row(`${chosen}, seed ${FINAL_SEEDS[i]}`, r)),
      row('untrained', untrained),
    ]),
    ...(longest > LATE * minutes
      ? [
          '',
          `A run took ${longest.toFixed(1)} minutes in place of ${minutes}: repeat this on a machine without other work.`,
        ]
      : []),
  ].join('\n')
}

function inProcess(task: SpeedrunTask): Promise<SpeedrunReading> {
  const extension = extname(import.meta.url)
  const script = fileURLToPath(new URL(`speedrun_process${extension}`, import.meta.url))
  const loader = extension === '.ts' ? ['--import', import.meta.resolve('tsx')] : []
  const child = spawn(process.execPath, [...loader, script, JSON.stringify(task)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let errors = ''
  child.stdout.on('data', (text: Buffer) => (output += text.toString()))
  child.stderr.on('data', (text: Buffer) => (errors += text.toString()))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      const line = output.split('\n').find((text) => text.startsWith('{'))
      if (code === 0 && line) resolve(JSON.parse(line) as SpeedrunReading)
      else reject(new Error(`the speedrun failed: ${/^\w*Error.*$/m.exec(errors)?.[0] ?? `exit code ${code}`}`))
    })
  })
}
