/** Repeats a step that gave a value which is not finite, and names the op where it began. */
import {
  firstNonFinite,
  show,
  Snapshot,
  type Engine,
  type NonFinite,
  type OperandRange,
  type Variable,
} from '../../engine/index.js'
import type { TrainingStep } from '../step/index.js'
import { DivergedError } from './diverged.js'

export interface DebugOptions {
  engine: Engine
  /** Every Variable that a step changes. */
  variables: readonly Variable[]
  /**
   * Reads and judges the step that was submitted last.
   *
   * @throws DivergedError
   */
  judge(): Promise<void>
}

/**
 * The same step, but each run waits for its result. If the result is not finite, the step is repeated from the state
 * before it, one dispatch at a time, and the error has a `detail` that names the first op with such a result. Needs the
 * memory of the network and the optimiser's state once more.
 */
export function debuggedStep(trainingStep: TrainingStep, { engine, variables, judge }: DebugOptions): TrainingStep {
  const before = new Snapshot(engine, variables)
  return {
    ...trainingStep,
    async run(inputs) {
      await engine.idle()
      before.take()
      await trainingStep.run(inputs)
      try {
        await judge()
      } catch (error) {
        if (!(error instanceof DivergedError)) throw error
        await engine.idle()
        before.restore()
        const found = await firstNonFinite(engine, () => trainingStep.run(inputs))
        error.message = error.message.replace(/; `debugNan` names the op$/, '')
        error.detail = found ? describeNonFinite(found) : 'Every result of an op in this step is finite.'
        throw error
      }
    },
    destroy() {
      before.release()
      trainingStep.destroy()
    },
  }
}

/** The op, its shapes and the ranges of its operands, a line each. */
export function describeNonFinite({ op, kernel, program, index, dispatches, ...found }: NonFinite): string {
  const shapes = found.outputs.length
    ? `  shapes: ${found.inputs.map(show).join(', ')} → ${found.outputs.map(show).join(', ')}`
    : undefined
  const names = found.operands.map(({ name, source, written }) =>
    written ? `${name} (result)` : `${name} (${source})`,
  )
  const widest = Math.max(...names.map(({ length }) => length))
  return [
    `The first result that is not finite: ${op}, kernel ${kernel}, dispatch ${index + 1} of ${dispatches} of the program '${program}'`,
    ...(shapes ? [shapes] : []),
    ...found.operands.map((operand, i) => `  ${names[i].padEnd(widest)}  ${rangeText(operand)}`),
  ].join('\n')
}

function rangeText({ count, nan, infinite, range }: OperandRange): string {
  const finite = range ? `${range[0].toPrecision(3)} to ${range[1].toPrecision(3)}` : undefined
  const bad = [nan && `${nan.toLocaleString('en')} NaN`, infinite && `${infinite.toLocaleString('en')} infinite`]
  const found = bad.filter(Boolean).join(', ')
  if (!found) return finite ?? 'no values'
  return `${found} of ${count.toLocaleString('en')} values${finite ? `, the others ${finite}` : ''}`
}
