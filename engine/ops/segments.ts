/**
 * Tensors cut into segments, with one workgroup for each segment of one tensor. Kernels use segments if they sum by
 * tensor, or if they must not read the gaps of an arena.
 */
import type { LoweringContext } from '../lowering_context.js'
import { part, resolve, type Slice } from '../plan.js'
import { align } from '../leaves.js'
import type { TensorSpec } from '../value.js'

/** Numbers in a segment. Its bytes are a multiple of the alignment of binding offsets. */
export const SEGMENT = 16384

/** A tensor's place in the layout of an arena, in bytes, and in the list of all segments. */
export interface Extent {
  readonly offset: number
  readonly bytes: number
  readonly firstSegment: number
  readonly segments: number
}

type Sized = TensorSpec & { readonly size: number; readonly bytes: number }

/** The extents of tensors in the layout of an arena, and the bytes of all. */
export function extentsOf(tensors: readonly Sized[]): { extents: Extent[]; bytes: number } {
  let offset = 0
  let firstSegment = 0
  const extents = tensors.map(({ size, bytes }) => {
    const extent = { offset, bytes, firstSegment, segments: Math.ceil(size / SEGMENT) }
    offset += align(bytes)
    firstSegment += extent.segments
    return extent
  })
  return { extents, bytes: offset }
}

/**
 * A table [segments, 3]: each segment's first vec4 in the layout, its count of numbers, and the index of its tensor.
 */
export function segmentTable(tensors: readonly Sized[]): Uint32Array {
  const words = extentsOf(tensors).extents.flatMap(({ offset, segments }, tensor) =>
    Array.from({ length: segments }, (_, s) => [
      offset / 16 + (s * SEGMENT) / 4,
      Math.min(SEGMENT, tensors[tensor].size - s * SEGMENT),
      tensor,
    ]),
  )
  return Uint32Array.from(words.flat())
}

/** The segments of one dispatch. */
export interface SegmentRun {
  /** For each column, the bytes of all segments of the run. */
  readonly slices: readonly Slice[]
  /** The offset in the layout at which the slices begin, in bytes. */
  readonly base: number
  readonly first: number
  readonly segments: number
}

/**
 * The runs of segments that one dispatch each can cover: they lie in one buffer, at the same distances as in the
 * layout, and do not exceed a binding or a grid.
 *
 * @param columns lists of equally many tensors (parameters, moments, gradients), each of its extent's size
 */
export function segmentRuns(
  context: LoweringContext,
  columns: readonly (readonly Slice[])[],
  extents: readonly Extent[],
): SegmentRun[] {
  const { maxBindingBytes, maxWorkgroupsPerDimension } = context.target
  const places = columns.map((column) => column.map(resolve))
  const runs: { slices: Slice[]; base: number; first: number; segments: number; bytes: number }[] = []
  extents.forEach(({ offset, bytes, firstSegment, segments }, i) => {
    for (let s = 0; s < segments; s++) {
      const start = 4 * SEGMENT * s
      const base = offset + start
      const length = Math.min(4 * SEGMENT, Math.ceil((bytes - start) / 16) * 16)
      const slices = places.map((column) => part(column[i], start, length))
      const last = runs.at(-1)
      const reach = last ? base - last.base + length : Infinity
      const follows =
        last &&
        last.segments < maxWorkgroupsPerDimension &&
        reach <= maxBindingBytes &&
        slices.every(
          ({ storage, offset: at }, c) =>
            storage === last.slices[c].storage && at - last.slices[c].offset === base - last.base,
        )
      if (follows) {
        last.segments++
        last.bytes = reach
      } else runs.push({ slices, base, first: firstSegment + s, segments: 1, bytes: length })
    }
  })
  return runs.map(({ bytes, ...run }) => ({ ...run, slices: run.slices.map((slice) => ({ ...slice, bytes })) }))
}
