/** The stages of `bench gpu`: each is a process of its own, one of the commands that a user has too. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const parts = ['A', 'B', 'C'] as const
export type Part = (typeof parts)[number]

/** Where and how stages run. */
export interface Setting {
  /** A folder for what the stages write. */
  work: string
  /** The folder of the results. */
  out: string
  /** A folder of CIFAR-10 in its official format; fetched by default. */
  dataDir?: string
  adapter?: string
  /** Shortened stages, for a software driver. */
  short: boolean
}

export interface Stage {
  name: string
  part: Part
  says: string
  /** Its share of the time. */
  weight: number
  /** The script and its arguments. */
  command(setting: Setting): string[]
  /** More variables of the environment. */
  env?(setting: Setting): NodeJS.ProcessEnv
  /** What it has measured so far; undefined if nothing yet. */
  results(setting: Setting): unknown
}

const script = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url))
const bench = (...args: string[]): string[] => [script('bench/speed/cli.ts'), ...args]
const fileOf = ({ work }: Setting, name: string): string => join(work, `${name}.json`)

/** A JSON file; undefined if it does not exist. Writers replace their files as a whole. */
const readJson = (path: string): unknown => (existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined)

/** A benchmark whose results are in the file of --json. */
const measured = (
  stage: Pick<Stage, 'name' | 'part' | 'says' | 'weight'>,
  args: (setting: Setting) => string[],
): Stage => ({
  ...stage,
  command: (setting) => bench(...args(setting), '--json', fileOf(setting, stage.name), '--force'),
  results: (setting) => readJson(fileOf(setting, stage.name)),
})

const PRETRAINING = { steps: 300, shortSteps: 12 }

/** A pretraining; its results are the summary and the losses of the run. */
function pretraining(precision: 'f32' | 'f16'): Stage {
  const runOf = ({ work }: Setting): string => join(work, `run-${precision}`)
  return {
    name: `pretraining ${precision}`,
    part: 'B',
    says: `ResNet-18 in ${precision}, with tuning`,
    weight: 50,
    command: (setting) => [
      script('train/cli/pretrain.ts'),
      ...['--precision', precision, '--views', '2', '--projector-dim', '256', '--lambda', '0.02'],
      ...(setting.short
        ? ['--width', '8', '--image-size', '16', '--batch', '32', '--steps', String(PRETRAINING.shortSteps)]
        : ['--batch', '256', '--steps', String(PRETRAINING.steps)]),
      ...['--epochs', '1000', '--checkpoint-every', '1000', '--out', runOf(setting)],
      ...(setting.dataDir === undefined ? [] : ['--data-dir', setting.dataDir]),
    ],
    results: (setting) => {
      const metrics = join(runOf(setting), 'metrics.jsonl')
      if (!existsSync(metrics)) return undefined
      const lines = readFileSync(metrics, 'utf8')
        .split('\n')
        .filter((line) => line.endsWith('}'))
        .map((line) => JSON.parse(line) as Record<string, number>)
      return {
        precision,
        steps: lines.map(({ step, loss, imagesPerSecond, seconds, skipped, peakBytes }) => ({
          ...{ step, loss, imagesPerSecond, seconds, skipped, peakBytes },
        })),
        summary: readJson(join(runOf(setting), 'summary.json')),
      }
    },
  }
}

/** A product of each kind. */
const SHORT_KERNELS = ['--quick', '--only', '→ 128, 3×3']

export const stages: readonly Stage[] = [
  {
    name: 'doctor',
    part: 'A',
    says: 'the adapters of this machine',
    weight: 15,
    command: () => [script('engine/node/doctor.ts')],
    results: () => undefined,
  },
  measured(
    { name: 'smoke', part: 'A', says: 'every pipeline built, each variant compared with the plain one', weight: 110 },
    ({ short }) => ['smoke', ...(short ? ['--quick'] : [])],
  ),
  {
    name: 'engine tests',
    part: 'A',
    says: 'the tests of the engine, on this adapter',
    weight: 90,
    command: ({ short }) => [
      script('node_modules/vitest/vitest.mjs'),
      'run',
      ...(short ? ['test/engine/ops/pool.test.ts', 'test/engine/ops/matmul.test.ts'] : ['test/engine']),
      ...['--exclude', 'test/engine/node/**', '--reporter', script('bench/speed/gpu/test_reporter.ts')],
      ...['--root', script('')],
    ],
    env: (setting) => ({ BENCH_TESTS_FILE: fileOf(setting, 'engine tests') }),
    results: (setting) => readJson(fileOf(setting, 'engine tests')),
  },
  measured(
    { name: 'kernels', part: 'A', says: 'each kernel against the measured ceilings', weight: 75 },
    ({ short }) => ['kernels', '--rounds', short ? '1' : '5', ...(short ? SHORT_KERNELS : [])],
  ),
  measured({ name: 'step', part: 'B', says: 'whole steps, with the time of each kernel', weight: 60 }, ({ short }) => [
    'step',
    '--quick',
    '--rounds',
    short ? '1' : '5',
    ...(short ? ['--only', 'width 16'] : []),
  ]),
  measured({ name: 'peers', part: 'B', says: 'the same work by PyTorch', weight: 60 }, ({ short }) => [
    'peers',
    '--quick',
    '--peers',
    'torch',
    '--rounds',
    short ? '1' : '5',
    ...(short ? ['--only', 'matmul 256'] : []),
  ]),
  pretraining('f32'),
  pretraining('f16'),
  {
    name: 'trace',
    part: 'C',
    says: 'one step, dispatch by dispatch',
    weight: 20,
    command: ({ out, short }) =>
      bench(
        'trace',
        '--out',
        join(out, 'trace.json'),
        '--force',
        '--rounds',
        '3',
        ...(short ? [] : ['--only', 'batch 512']),
      ),
    results: ({ out }) => readJson(join(out, 'trace.json')),
  },
  measured(
    { name: 'tuned kernels', part: 'C', says: 'each kernel again, with variants chosen by measurement', weight: 90 },
    ({ short }) => ['kernels', '--tune', '--rounds', short ? '1' : '5', ...(short ? SHORT_KERNELS : [])],
  ),
]
