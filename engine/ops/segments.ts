/**
 * Tensors cut into segments, for kernels whose workgroups each work through one segment of one tensor: what is summed
 * by tensor, and what must not look at the gaps of an arena.
 */
import type { LoweringContext } from '../lowering_context.js'
import { part, resolve, type Slice } from '../plan.js'
import { align } from '../leaves.js'
import type { TensorSpec } from '../value.js'

/** Numbers in a segment; whole binding offsets. */
export const SEGMENT = 16384

/** A tensor's place in the layout of an arena, in bytes, and its segments among those of all tensors. */
export interface Extent {
  readonly offset: number
  readonly bytes: number
  readonly firstSegment: number
  readonly segments: number
}

type Sized = TensorSpec & { readonly size: number; readonly bytes: number }

/** The extents of tensors, laid out as an arena lays them out, and the bytes of all. */
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

/** Of each segment its first vec4 in the layout, its count of numbers, and which tensor's it is: [segments, 3]. */
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

/** What one dispatch can work through. */
export interface SegmentRun {
  /** Of each column, the bytes of all the run's segments. */
  readonly slices: readonly Slice[]
  /** Where the slices begin in the layout, in bytes. */
  readonly base: number
  readonly first: number
  readonly segments: number
}

/**
 * Runs of segments that lie in one buffer, at the distances of the layout, as far as a binding and a grid reach.
 *
 * @param columns lists of equally many tensors (parameters, moments, gradients), each tensor of its extent's size
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
