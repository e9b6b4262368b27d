/** Plot of the step benchmark. */
import type { Origin } from '../report/origin.js'
import { bars, originPlot } from './plot.js'
import type { StepResult } from './step.js'

/** As many kernels as colours can tell apart. */
const KERNELS_SHOWN = 9

/** The time of each step, divided among its kernels. */
export function stepPlot(results: readonly StepResult[], origin: Origin): Promise<string> {
  const values = results.flatMap(({ name, kernels }) =>
    largest(kernels).map(({ kernel, milliseconds }) => ({ step: name, kernel, milliseconds })),
  )
  const fields = { category: 'step', value: 'milliseconds', color: 'kernel', axis: 'milliseconds per step, by kernel' }
  const spec = bars(values, fields, { orient: 'right', labelLimit: 0 })
  return originPlot(spec, 'Time of a training step by kernel', origin)
}

/** The kernels that take most of the time, and the sum of all others. */
function largest(kernels: StepResult['kernels']): { kernel: string; milliseconds: number }[] {
  const others = kernels.slice(KERNELS_SHOWN).reduce((sum, { milliseconds }) => sum + milliseconds, 0)
  return [...kernels.slice(0, KERNELS_SHOWN), ...(others ? [{ kernel: 'others', milliseconds: others }] : [])]
}
