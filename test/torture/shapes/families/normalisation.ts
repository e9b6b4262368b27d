/** Batch normalisation and its relatives, pooling, and the normalisation of rows. */
import fc from 'fast-check'
import type { Value } from '../../../../engine/index.js'
import * as b from '../bounded.js'
import {
  differentiable,
  draw,
  drawPositive,
  expect,
  family,
  halves,
  numbers,
  plain,
  shape,
  size,
  toBounded,
  within,
  type Case,
  type Family,
} from '../case.js'
import { ops } from '../ops.js'

const EPSILON = 1e-5

const largestOf = (list: readonly b.Bounded[]): number => Math.max(...list.map(({ value }) => Math.abs(value)))

/**
 * Mean and variance of each group of rows and each column. The kernels sum deviations from one of the numbers, x₀, so that
 * a large mean does not cancel (Chan, Golub & LeVeque 1983). The bounds are those for the worst choice of x₀:
 * n · Σ|x − x₀| / n for the mean, and n · Σ(x − x₀)² / (n − correction) for the variance.
 */
function statistics(x: b.BoundedTensor, groups: number, correction: number) {
  const columns = x.shape[x.shape.length - 1]
  const rows = x.data.length / columns / groups
  const place = (i: number): number => Math.floor(i / columns / rows) * columns + (i % columns)
  const lists = Array.from({ length: groups * columns }, (): b.Bounded[] => [])
  x.data.forEach((v, i) => lists[place(i)].push(v))
  const average = (list: readonly b.Bounded[]): number => list.reduce((sum, v) => sum + Math.abs(v.value), 0) / rows
  const mean = lists.map((list) => b.looser(b.mean(list), rows * (average(list) + largestOf(list))))
  const centred = x.data.map((v, i) => b.subtract(v, mean[place(i)]))
  const squares = lists.map((): b.Bounded[] => [])
  centred.forEach((v, i) => squares[place(i)].push(b.square(v)))
  const variance = squares.map((list) => {
    const from = rows * (average(list) + largestOf(list))
    return b.divide(b.looser(b.sum(list), rows * from), b.exact(rows - correction))
  })
  return { mean, variance, centred, place, columns, rows }
}

interface Normalised {
  groups: number
  relu: boolean
  epsilon: number
  correction: number
}

function batchNorm(
  t: { x: b.BoundedTensor; scale?: b.BoundedTensor; shift?: b.BoundedTensor; residual?: b.BoundedTensor },
  { groups, relu, epsilon, correction }: Normalised,
): b.BoundedTensor {
  const { mean, variance, place, columns } = statistics(t.x, groups, correction)
  const one = b.exact(1)
  const gain = variance.map((v, k) =>
    b.divide(t.scale?.data[k % columns] ?? one, b.sqrt(epsilon ? b.add(v, b.rounded(epsilon)) : v)),
  )
  // The kernels compute x · gain + offset, whose rounding errors are those of both terms.
  const offset = mean.map((m, k) => {
    const turned = b.negate(b.multiply(m, gain[k]))
    return t.shift ? b.add(t.shift.data[k % columns], turned) : turned
  })
  return b.map(t.x, (v, i) => {
    const line = b.sum([b.multiply(v, gain[place(i)]), offset[place(i)], ...(t.residual ? [t.residual.data[i]] : [])])
    return relu ? b.relu(line) : line
  })
}

/** [rows · groups, …, channels], with at least two rows for each statistic. */
const grouped = fc.record({
  groups: size(5),
  rows: size(67),
  inner: fc.array(size(5), { maxLength: 2 }),
  channels: size(),
})

const shapeOf = ({
  groups,
  rows,
  inner,
  channels,
}: {
  groups: number
  rows: number
  inner: number[]
  channels: number
}): number[] => {
  const c = within(400, channels)
  const spatial = inner.map((n) => within(9, n))
  const each = within(3000, rows, groups, c, ...spatial)
  const enough = each * spatial.reduce((p, q) => p * q, 1) > 1 ? each : 2
  return [groups * enough, ...spatial, c]
}

const batchNormFamily = family({
  name: 'batchNorm',
  drawn: fc.record({ sizes: grouped, relu: fc.boolean(), residual: fc.boolean(), half: halves, numbers }),
  half: ({ half }) => half,
  make: ({ sizes, relu, residual, half, numbers: given }) => {
    const dims = shapeOf(sizes)
    const c = [dims[dims.length - 1]]
    return differentiable({
      inputs: {
        x: draw(given, 'x', dims, half),
        scale: drawPositive({ ...given, kind: 'normal' }, 'scale', c),
        shift: draw({ ...given, kind: 'normal' }, 'shift', c),
        ...(residual && { residual: draw({ ...given, kind: 'normal' }, 'residual', dims, half) }),
      },
      build: (v) =>
        ops.batchNorm(v.x, v.scale, v.shift, { groups: sizes.groups, relu, ...(residual && { residual: v.residual }) })
          .y,
      reference: (t) =>
        batchNorm(t as { x: b.BoundedTensor }, { groups: sizes.groups, relu, epsilon: EPSILON, correction: 0 }),
      ...(half && { half: residual ? ['x', 'residual'] : ['x'] }),
      seed: given.seed,
    })
  },
})

/** The statistics that batchNorm returns, and the running statistics from them. */
const runningFamily = family({
  name: 'updateRunningStatistics',
  drawn: fc.record({ sizes: grouped, momentum: fc.constantFrom(0.1, 1), numbers }),
  make: ({ sizes, momentum, numbers: given }): Case => {
    const { groups } = sizes
    const dims = shapeOf(sizes)
    const c = [dims[dims.length - 1]]
    const x = draw(given, 'x', dims)
    const before = { mean: draw(given, 'mean', c), variance: drawPositive(given, 'variance', c) }
    return {
      inputs: { x },
      graph: (v) => {
        const batch = ops.batchNorm(v.x, ops.filled(c, 1), ops.filled(c, 0), { groups })
        const mean = ops.variable('mean', c, before.mean.data)
        const variance = ops.variable('variance', c, before.variance.data)
        const count = x.data.length / c[0] / groups
        return {
          outputs: { 'batch mean': batch.mean, 'batch variance': batch.variance },
          updates: ops.updateRunningStatistics({ mean, variance }, batch, count, momentum),
          variables: { mean, variance },
        }
      },
      expected: () => {
        const { mean, variance, columns, rows } = statistics(toBounded(x), groups, 0)
        const running = (start: b.BoundedTensor, list: b.Bounded[], factor: b.Bounded): b.BoundedTensor =>
          b.map(start, (v, k) => {
            let value = v
            for (let g = 0; g < groups; g++) {
              const next = b.multiply(list[g * columns + k], factor)
              value = b.add(value, b.multiply(b.rounded(momentum), b.subtract(next, value)))
            }
            return value
          })
        const unbiased = b.rounded(rows / (rows - 1))
        return {
          'batch mean': expect(b.tensor([groups, columns], mean)),
          'batch variance': expect(b.tensor([groups, columns], variance)),
          mean: expect(running(toBounded(before.mean), mean, b.exact(1))),
          variance: expect(running(toBounded(before.variance), variance, unbiased)),
        }
      },
    }
  },
})

const inferenceFamily = family({
  name: 'batchNormInference',
  drawn: fc.record({ dims: shape(2, 4, 3000), relu: fc.boolean(), residual: fc.boolean(), half: halves, numbers }),
  half: ({ half }) => half,
  make: ({ dims, relu, residual, half, numbers: given }) => {
    const c = [dims[dims.length - 1]]
    const inputs = {
      x: draw(given, 'x', dims, half),
      mean: draw(given, 'mean', c),
      variance: drawPositive(given, 'variance', c),
      scale: draw(given, 'scale', c),
      shift: draw(given, 'shift', c),
      ...(residual && { residual: draw(given, 'residual', dims, half) }),
    }
    const asHalf = (v: Value): Value => (half ? ops.cast(v, 'f16') : v)
    return plain(
      inputs,
      (v) => {
        const y = ops.batchNormInference(asHalf(v.x), v.mean, v.variance, v.scale, v.shift, {
          relu,
          ...(residual && { residual: asHalf(v.residual) }),
        })
        return half ? ops.cast(y, 'f32') : y
      },
      (t) => {
        const gain = t.scale.data.map((v, k) => b.divide(v, b.sqrt(b.add(t.variance.data[k], b.rounded(EPSILON)))))
        return b.map(t.x, (v, i) => {
          const k = i % c[0]
          const turned = b.negate(b.multiply(t.mean.data[k], gain[k]))
          const offset = b.add(t.shift.data[k], turned)
          const y = b.sum([b.multiply(v, gain[k]), offset, ...(residual ? [t.residual.data[i]] : [])])
          return half ? b.stored(relu ? b.relu(y) : y) : relu ? b.relu(y) : y
        })
      },
    )
  },
})

const standardiseFamily = family({
  name: 'standardizeColumns',
  drawn: fc.record({ groups: size(4), rows: size(67), columns: size(), correction: fc.constantFrom(0, 1), numbers }),
  make: ({ groups, rows, columns, correction, numbers: given }) => {
    const each = Math.max(2, within(3000, rows, groups, columns))
    return differentiable({
      inputs: {
        x: draw({ ...given, kind: given.kind === 'sparse' ? 'wide' : given.kind }, 'x', [groups * each, columns]),
      },
      build: ({ x }) => ops.standardizeColumns(x, { groups, correction }),
      reference: ({ x }) => batchNorm({ x }, { groups, relu: false, epsilon: 0, correction }),
      seed: given.seed,
    })
  },
})

const normaliseFamily = family({
  name: 'l2NormalizeRows',
  drawn: fc.record({ rows: size(), columns: size(), numbers }),
  make: ({ rows, columns, numbers: given }) => {
    const kind = given.kind === 'sparse' ? 'normal' : given.kind
    const count = within(3000, rows, columns)
    return differentiable({
      inputs: { x: draw({ ...given, kind }, 'x', [count, columns]) },
      build: ({ x }) => ops.l2NormalizeRows(x),
      reference: ({ x }) => {
        const norms = Array.from({ length: count }, (_, r) => {
          const row = x.data.slice(r * columns, (r + 1) * columns)
          return b.sqrt(b.dot(row, row))
        })
        return b.map(x, (v, i) => b.divide(v, norms[Math.floor(i / columns)]))
      },
      seed: given.seed,
    })
  },
})

const image = fc.record({ n: size(5), height: size(33), width: size(33), channels: size() })

const maxPoolFamily = family({
  name: 'maxPool2d',
  drawn: fc.record({ image, size: size(5), stride: size(7), padding: fc.nat(2), half: halves, numbers }),
  half: ({ half }) => half,
  make: ({ image: { n, height, width, channels }, size: window, stride, padding, half, numbers: given }) => {
    const pad = Math.min(padding, Math.floor(window / 2))
    const least = Math.max(1, window - 2 * pad)
    const [h, w] = [Math.max(height, least), Math.max(width, least)]
    const dims = [within(4000, n, h, w), h, w, within(4000, channels, h, w)]
    return differentiable({
      inputs: { x: draw(given, 'x', dims, half) },
      build: ({ x }) => ops.maxPool2d(x, { size: window, stride, padding: pad }),
      reference: ({ x }) => maxPool(x, window, stride, pad),
      ...(half && { half: ['x'] }),
      seed: given.seed,
    })
  },
})

function maxPool(x: b.BoundedTensor, window: number, stride: number, padding: number): b.BoundedTensor {
  const [n, h, w, c] = x.shape
  const [oh, ow] = [h, w].map((size) => Math.floor((size + 2 * padding - window) / stride) + 1)
  const data: b.Bounded[] = []
  for (let image = 0; image < n; image++)
    for (let i = 0; i < oh; i++)
      for (let j = 0; j < ow; j++)
        for (let k = 0; k < c; k++) {
          const taps: b.Bounded[] = []
          for (let row = i * stride - padding; row < i * stride - padding + window; row++)
            for (let column = j * stride - padding; column < j * stride - padding + window; column++)
              if (row >= 0 && row < h && column >= 0 && column < w)
                taps.push(x.data[((image * h + row) * w + column) * c + k])
          data.push(b.largest(taps))
        }
  return b.tensor([n, oh, ow, c], data)
}

const averageFamily = family({
  name: 'globalAveragePool',
  drawn: fc.record({ image, half: halves, numbers }),
  half: ({ half }) => half,
  make: ({ image: { n, height, width, channels }, half, numbers: given }) => {
    const dims = [n, height, within(400, width, height), within(5000, channels, n, height, width)]
    const pixels = dims[1] * dims[2]
    return differentiable({
      inputs: { x: draw(given, 'x', dims, half) },
      build: ({ x }) => ops.globalAveragePool(x),
      reference: ({ x }) => {
        const [, , , c] = dims
        const data = Array.from({ length: n * c }, (_, k) => {
          const first = Math.floor(k / c) * pixels * c + (k % c)
          return b.mean(Array.from({ length: pixels }, (_, p) => x.data[first + p * c]))
        })
        return b.tensor([n, c], data)
      },
      ...(half && { half: ['x'], single: true }),
      seed: given.seed,
    })
  },
})

export const normalisation: readonly Family[] = [
  ...[batchNormFamily, runningFamily, inferenceFamily, standardiseFamily, normaliseFamily],
  ...[maxPoolFamily, averageFamily],
]
