/** What a GPU's compiler makes of the pipelines of pretraining steps, without that GPU. */
import { cpus } from 'node:os'
import { markdownTable } from '../../../train/report/text.js'
import type { Measurement } from '../measurement.js'
import { nameOf, workload, type Workload } from '../workload.js'
import { compilePlanned } from './compile.js'
import type { Family } from './compiler.js'
import type { CompiledPipeline } from './statistics.js'

export interface IsaOptions {
  family: Family
  /** Only workloads whose names contain this text. */
  only?: string
  quick: boolean
  onMessage(line: string): void
}

/** Steps whose pipelines are compiled: both networks, in f32 and in f16, on small and on large pictures. */
export function isaWorkloads(quick: boolean): Workload[] {
  return (['f32', 'f16'] as const).flatMap((precision) => [
    workload({ batch: 256, precision }),
    ...(quick ? [] : [workload({ batch: 256, views: 8, precision })]),
    workload({ arch: 'resnet50', batch: 128, precision }),
    ...(quick ? [] : [workload({ arch: 'resnet50', batch: 32, pixels: 224, stem: 'imagenet', precision })]),
  ])
}

/** @throws Error in one line if no workload has the text of `only`, or if the compiler cannot be fetched */
export async function benchIsa({ family, only, quick, onMessage }: IsaOptions): Promise<Measurement> {
  const workloads = isaWorkloads(quick).filter((one) => !only || nameOf(one).includes(only))
  if (!workloads.length) throw new Error(`--only '${only}': no step has this text in its name`)
  const begun = performance.now()
  const report = await compilePlanned({ family, workloads, loops: true })
  const seconds = (performance.now() - begun) / 1000
  const pipelines = report.pipelines.filter(({ figures, failed }) => figures ?? failed)
  onMessage(`${pipelines.length} pipelines in ${seconds.toFixed(0)} s`)
  const list = cpus()
  return {
    kind: 'isa',
    origin: {
      adapter: `${family}, not present`,
      driver: report.driver,
      date: new Date().toISOString(),
      node: process.versions.node,
      cpu: `${list[0]?.model.trim() ?? 'unknown CPU'}, ${list.length} threads`,
    },
    results: { family, workloads: workloads.map(nameOf), pipelines },
    markdown: isaMarkdown(pipelines, workloads),
    plots: {},
  }
}

/** Multiplications and additions of all uses. */
export const flopsOf = ({ uses }: CompiledPipeline): number => uses.reduce((sum, { flops }) => sum + flops, 0)

export function isaMarkdown(pipelines: readonly CompiledPipeline[], workloads: readonly Workload[]): string {
  const sorted = [...pipelines].sort((a, b) => flopsOf(b) - flopsOf(a) || (a.kernel < b.kernel ? -1 : 1))
  const failed = sorted.filter((pipeline) => pipeline.failed)
  return [
    "## Pipelines as a GPU's compiler sees them",
    'FMA is a multiplication with addition. FMAs / issued counts one round of the inner loop: the FMAs of a thread, the ' +
      'instructions that are issued, and their ratio, which is at most 1 without matrix units. Waves are those that fit ' +
      "into a SIMD unit at once, 16 being enough on most chips. Cycles are the compiler's estimate; they compare two " +
      'versions of a kernel, and are not times. Dispatches count all the steps below.',
    workloads.map((one) => `- ${nameOf(one)}`).join('\n'),
    markdownTable(
      [
        'kernel',
        'constants',
        'dispatches',
        'FMAs / issued',
        'registers',
        'waves',
        'shared',
        'spilled',
        'scratch',
        'cycles',
      ],
      sorted.filter(({ figures }) => figures).map(rowOf),
    ),
    ...failed.map(({ kernel, constants, failed: why }) => `Refused: ${kernel} ${JSON.stringify(constants)}: ${why}`),
  ].join('\n\n')
}

function rowOf(pipeline: CompiledPipeline): string[] {
  const { kernel, constants, uses, figures } = pipeline
  const { registers, waves, shared, spilled, scratch, cycles, loop } = figures!
  const chosen = Object.entries(constants).map(([name, value]) => `${name} ${value}`)
  return [
    kernel,
    chosen.join(', '),
    String(uses.length),
    loop && flopsOf(pipeline) > 0
      ? `${loop.fmas} / ${loop.instructions} = ${(loop.fmas / loop.instructions).toFixed(2)}`
      : '',
    ...[registers, waves, shared, spilled, scratch, cycles].map(String),
  ]
}
