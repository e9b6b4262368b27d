/**
 * Dynamic loss scaling (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740; the constants are those of PyTorch's
 * GradScaler): gradients stored in f16 are taken of scale · loss, so that small ones do not vanish. A step whose
 * gradients overflow is skipped, and the scale halved; after many clean steps it is doubled. All of it happens on the GPU.
 */
import { part, resolve, type Emit, type Slice } from '../lowering.js'
import { align, assign, constant, variable, type Assignment, type Variable } from '../sources.js'
import { defineOp, type Value } from '../value.js'
import { checkFloat } from './common.js'
import { sliceRows } from './layout.js'

/** Numbers that one workgroup looks through; whole binding offsets. */
const SEGMENT = 16384

/** What an optimiser is told of scaled gradients: whether and how to use them. */
export interface Unscaling {
  /** [1]: 1 / scale, or 0 where the step is to be skipped. */
  readonly factor: Value
  /** [1]: 1, or 0 where the step is to be skipped. */
  readonly applied: Value
}

/** A loss scale's own Variable, and what it does in a step. */
export interface LossScale {
  /** [3]: the scale, the clean steps since it last changed, the steps skipped so far. */
  readonly state: Variable
  /** [1]: what `gradients` takes as the seed, so that the loss is multiplied by the scale. */
  readonly seed: Value
  /**
   * Looks for infinities and for what is no number in all gradients, f32, of one step.
   *
   * @returns what the optimiser needs, `state` after this step, and its update
   */
  judge(gradients: readonly Value[]): Unscaling & { next: Value; update: Assignment }
}

/** Where a tensor's segments lie among all, and in the layout that the optimiser uses too. */
interface Extent {
  offset: number
  bytes: number
  firstSegment: number
  segments: number
}

function extentsOf(gradients: readonly Value[]): { extents: Extent[]; table: Uint32Array; bytes: number } {
  const table: number[] = []
  let offset = 0
  const extents = gradients.map((g) => {
    const firstSegment = table.length / 2
    for (let start = 0; start < g.size; start += SEGMENT)
      table.push((offset + 4 * start) / 16, Math.min(SEGMENT, g.size - start))
    const extent = { offset, bytes: g.bytes, firstSegment, segments: table.length / 2 - firstSegment }
    offset += align(g.bytes)
    return extent
  })
  return { extents, table: Uint32Array.from(table), bytes: offset }
}

/** Inputs: gradients…, the table of segments, state. Outputs: state, factor, applied. */
const lossScaleOp = defineOp<{ interval: number }>({
  name: 'lossScale',
  infer: () => [{ shape: [3], dtype: 'f32' }, one, one],
  lower: ({ inputs, outputs: [next, factor, applied], attributes: { interval } }, emit) => {
    const gradients = inputs.slice(0, -2)
    const [table, state] = inputs.slice(-2)
    const { extents, bytes } = extentsOf(gradients)
    emit.colocate(
      gradients,
      extents.map(({ offset }) => offset),
      bytes,
    )
    const count = table.size / 2
    const overflow = emit.temporary(Math.ceil(count / 4) * 16)
    const places = gradients.map((g) => resolve(emit.of(g)))
    for (const { x, base, first, segments } of runsOf(emit, places, extents))
      emit.dispatch({
        kernel: 'finite',
        params: { first, base4: base / 16 },
        buffers: { x, segments: emit.of(table), overflow },
        workgroups: [segments],
      })
    emit.dispatch({
      kernel: 'loss_scale',
      params: { count, interval },
      buffers: { overflow, state: emit.inPlace(next, state), factor: emit.of(factor), applied: emit.of(applied) },
      workgroups: [1],
    })
  },
})

const one = { shape: [1], dtype: 'f32' } as const

interface Run {
  x: Slice
  /** Where x begins in the layout of the table, in bytes. */
  base: number
  first: number
  segments: number
}

/** What one dispatch can look through: neighbours in one buffer, as far as a binding and a grid reach. */
function runsOf(emit: Emit, places: readonly Slice[], extents: readonly Extent[]): Run[] {
  const { maxBindingBytes, maxWorkgroupsPerDimension } = emit.target
  const most = Math.min(maxWorkgroupsPerDimension, Math.floor(maxBindingBytes / (4 * SEGMENT)))
  const runs: (Run & { bytes: number })[] = []
  extents.forEach(({ offset, bytes, firstSegment, segments }, i) => {
    for (let s = 0; s < segments; s++) {
      const start = 4 * SEGMENT * s
      const base = offset + start
      const piece = part(places[i], start, Math.min(4 * SEGMENT, Math.ceil((bytes - start) / 16) * 16))
      const last = runs.at(-1)
      const reach = last ? base - last.base + piece.bytes : Infinity
      if (
        last &&
        last.x.storage === piece.storage &&
        last.x.offset - last.base === piece.offset - base &&
        last.segments < most &&
        reach <= maxBindingBytes
      ) {
        last.segments++
        last.bytes = reach
      } else runs.push({ x: piece, base, first: firstSegment + s, segments: 1, bytes: piece.bytes })
    }
  })
  return runs.map((run) => ({ ...run, x: { ...run.x, bytes: run.bytes } }))
}

/**
 * A loss scale that finds its own size.
 *
 * @param initial scale of the first step
 * @param interval clean steps after which the scale is doubled
 */
export function dynamicLossScale({ initial = 65536, interval = 2000 } = {}): LossScale {
  const state = variable('loss_scale', [3], Float32Array.of(initial, 0, 0))
  return {
    state,
    seed: sliceRows(state, 0, 1),
    judge(gradients) {
      checkFloat('lossScale', ...gradients)
      const { table } = extentsOf(gradients)
      const segments = constant(table, [table.length / 2, 2])
      const [next, factor, applied] = lossScaleOp([...gradients, segments, state], { interval })
      return { factor, applied, next, update: assign(state, next) }
    },
  }
}
