/** Speed of each kernel family, relative to the ceilings of the adapter. */
import type { Engine } from '../../engine/index.js'
import { profile } from '../../engine/profiling.js'
import { markdownTable } from '../../train/report/text.js'
import { figure } from '../report/text.js'
import { measureCeilings, type Ceilings } from './ceilings.js'
import { kernelCases, type KernelCase } from './kernel_cases.js'
import { rooflinePlot, sharesPlot } from './kernels_plot.js'
import type { Measurement, MeasureOptions } from './measurement.js'

export interface KernelResult {
  family: string
  name: string
  milliseconds: number
  /** Counts the operations of the direct algorithm; absent if memory limits the family. */
  gflops?: number
  /** Counts each byte once that a dispatch binds. */
  gbs: number
  /** Operations per byte. */
  intensity?: number
  /** The larger of the shares of the f32 ceiling and of the copy ceiling. */
  share: number
  /** The ceiling that `share` refers to. */
  bound: 'arithmetic' | 'memory'
  dispatches: number
}

/** Measures every case. */
export async function benchKernels(options: MeasureOptions): Promise<Measurement> {
  const { engine, origin, rounds, quick, only, onMessage, save } = options
  const ceilings = await measureCeilings(engine)
  onMessage(describeCeilings(ceilings))
  await save?.({ ceilings, kernels: [] })
  const results: KernelResult[] = []
  for (const c of kernelCases(engine.target.adapterClass, quick)) {
    if (only && !`${c.family} ${c.name}`.includes(only)) continue
    const result = await measure(engine, c, ceilings, rounds)
    results.push(result)
    const rate = result.gflops ? `${figure(result.gflops)} GFLOP/s` : `${figure(result.gbs)} GB/s`
    onMessage(`${c.family} ${c.name}: ${figure(result.milliseconds)} ms, ${rate}`)
    await save?.({ ceilings, kernels: results })
  }
  if (!results.length) throw new Error(`--only '${only}': no kernel case has this text in its name`)
  return {
    kind: 'kernels',
    origin,
    results: { ceilings, kernels: results },
    markdown: markdown(results, ceilings),
    plots: { roofline: await rooflinePlot(results, ceilings, origin), shares: await sharesPlot(results, origin) },
  }
}

/** Compiles and profiles one case, and frees it. */
async function measure(engine: Engine, c: KernelCase, ceilings: Ceilings, rounds: number): Promise<KernelResult> {
  const { spec, variables, inputs } = c.build()
  const program = await engine.compile(spec)
  try {
    const { dispatches } = await profile(program, inputs, { rounds })
    const seconds = dispatches.reduce((total, { microseconds }) => total + microseconds, 0) / 1e6
    const bytes = dispatches.reduce((total, d) => total + d.bytes, 0)
    const gflops = c.flops && c.flops / seconds / 1e9
    const gbs = bytes / seconds / 1e9
    const [arithmetic, memory] = [(gflops ?? 0) / ceilings.f32, gbs / ceilings.copy]
    return {
      family: c.family,
      name: c.name,
      milliseconds: 1000 * seconds,
      gflops,
      gbs,
      intensity: c.flops && c.flops / bytes,
      share: Math.max(arithmetic, memory),
      bound: arithmetic >= memory ? 'arithmetic' : 'memory',
      dispatches: dispatches.length,
    }
  } finally {
    program.destroy()
    for (const v of variables) engine.release(v)
  }
}

const describeCeilings = ({ f32, f16, subgroupMatrix, copy }: Ceilings): string =>
  `Ceilings: ${figure(f32)} GFLOP/s f32` +
  (f16 ? `, ${figure(f16)} GFLOP/s f16` : '') +
  (subgroupMatrix ? `, ${figure(subgroupMatrix)} GFLOP/s subgroup matrices` : '') +
  `, ${figure(copy)} GB/s copied`

function markdown(results: readonly KernelResult[], ceilings: Ceilings): string {
  const rows = results.map((r) => [
    `${r.family} ${r.name}`,
    figure(r.milliseconds),
    r.gflops ? figure(r.gflops) : '',
    figure(r.gbs),
    `${(100 * r.share).toFixed(0)} % of ${r.bound}`,
  ])
  return [
    '## Kernels',
    `${describeCeilings(ceilings)}. GFLOP/s count the operations of the direct algorithm, so Winograd can exceed the ` +
      'ceiling. GB/s count each byte once that a dispatch binds.',
    markdownTable(['kernel', 'ms', 'GFLOP/s', 'GB/s', 'share of ceiling'], rows),
  ].join('\n\n')
}
