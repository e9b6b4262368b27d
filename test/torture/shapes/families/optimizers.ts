/** Optimisers and what acts on all gradients of a step: averages, clipping, loss scaling, accumulation. */
import fc from 'fast-check'
import type { Optimizer, Value, Variable } from '../../../../engine/index.js'
import { SEGMENT } from '../../../../engine/ops/segments.js'
import * as b from '../bounded.js'
import {
  draw,
  drawPositive,
  expect,
  family,
  numbers,
  shape,
  toBounded,
  type Case,
  type Expected,
  type Family,
  type Given,
  type Numbers,
} from '../case.js'
import { ops } from '../ops.js'

/** Shapes of a few tensors. Kernels that sum by tensor cut a long one into segments. */
const shapes = fc.array(
  fc.oneof(
    { weight: 12, arbitrary: shape(1, 4, 700) },
    { weight: 1, arbitrary: fc.constantFrom<number[][]>([SEGMENT + 1], [129, 128]) },
  ),
  { minLength: 1, maxLength: 4 },
)

/** The tensors of a small network: some in an arena, so that one dispatch updates them all. */
const tensors = fc.record({
  shapes,
  arena: fc.boolean(),
  scaled: fc.boolean(),
  decay: fc.constantFrom(0, 0.01),
  momentum: fc.constantFrom(0, 0.9),
  numbers,
})
type Tensors = typeof tensors extends fc.Arbitrary<infer T> ? T : never

const RATE = 0.05
const rate = (): b.Bounded => b.rounded(RATE)
/** A power of two, as loss scales are. */
const UNSCALE = 0.25

interface State {
  w: b.BoundedTensor
  g: b.BoundedTensor
  /** The optimiser's own tensors of this parameter. */
  moments: b.BoundedTensor[]
}

/** One step of an optimiser from given weights and moments. */
function step(
  drawn: Tensors,
  make: (parameters: Variable[], drawn: Tensors) => Optimizer,
  moments: readonly { name: string; positive?: boolean }[],
  update: (state: State, drawn: Tensors) => { w: b.BoundedTensor; moments: b.BoundedTensor[] },
): Case {
  const { shapes, arena, scaled, numbers: given } = drawn
  const n = shapes.length
  const near: Numbers = { ...given, kind: given.kind === 'offset' ? 'normal' : given.kind }
  const weights = shapes.map((dims, i) => draw(near, `w${i}`, dims))
  const gradients = shapes.map((dims, i) => draw(near, `g${i}`, dims))
  const states = moments.map(({ name, positive }) =>
    shapes.map((dims, i) => (positive ? drawPositive : draw)(near, `${name}${i}`, dims)),
  )
  return {
    inputs: {
      ...Object.fromEntries(gradients.map((g, i) => [`g${i}`, g])),
      rate: { shape: [1], data: Float32Array.of(RATE) },
    },
    graph: (v) => {
      const parameters = weights.map(({ shape: dims, data }, i) => ops.variable(`w${i}`, dims, data))
      if (arena) new ops.Arena(parameters)
      const optimizer = make(parameters, drawn)
      // An arena shares a buffer, so the moments start from given numbers in a Variable's own `initial`.
      optimizer.state.forEach((variable, k) => {
        const list = states[Math.floor(k / n)]
        if (list) Object.assign(variable, { initial: list[k % n].data })
      })
      const list = shapes.map((_, i) => (i % 2 ? v[`g${i}`] : ops.scale(v[`g${i}`], 1)))
      const unscaling = scaled ? { factor: ops.filled([1], UNSCALE), applied: ops.filled([1], 1) } : undefined
      const variables: Record<string, Variable> = Object.fromEntries(parameters.map((p, i) => [`w${i}`, p]))
      moments.forEach(({ name }, m) =>
        shapes.forEach((_, i) => (variables[`${name}${i}`] = optimizer.state[m * n + i])),
      )
      return { updates: optimizer.updates(list, v.rate, unscaling), variables }
    },
    expected: () => {
      const expected: Record<string, Expected> = {}
      shapes.forEach((_, i) => {
        const g = b.map(toBounded(gradients[i]), (v) => (scaled ? b.multiply(b.exact(UNSCALE), v) : v))
        const after = update({ w: toBounded(weights[i]), g, moments: states.map((s) => toBounded(s[i])) }, drawn)
        expected[`w${i}`] = expect(after.w)
        moments.forEach(({ name }, m) => (expected[`${name}${i}`] = expect(after.moments[m])))
      })
      return expected
    },
  }
}

const zip = (x: b.BoundedTensor, f: (v: b.Bounded, i: number) => b.Bounded): b.BoundedTensor => b.map(x, f)

const adam = (name: 'adam' | 'adamW'): Family =>
  family({
    name,
    drawn: tensors,
    make: (drawn) => {
      const [beta1, beta2, epsilon] = [0.9, 0.999, 1e-8]
      return step(
        drawn,
        (parameters, { decay }) => ops[name](parameters, { beta1, beta2, epsilon, weightDecay: decay }),
        [{ name: 'm' }, { name: 'v', positive: true }],
        ({ w, g, moments: [m, v] }, { decay }) => {
          const lambda = b.rounded(decay)
          const decayed = name === 'adamW' ? zip(w, (p) => b.subtract(p, b.multiply(b.multiply(rate(), lambda), p))) : w
          const slope = name === 'adam' ? zip(g, (d, i) => b.add(d, b.multiply(lambda, w.data[i]))) : g
          const average = (before: b.Bounded, next: b.Bounded, beta: number): b.Bounded =>
            b.add(b.multiply(b.rounded(beta), before), b.multiply(b.rounded(1 - beta), next))
          const first = zip(m, (before, i) => average(before, slope.data[i], beta1))
          const second = zip(v, (before, i) => average(before, b.square(slope.data[i]), beta2))
          // The step counts from 1. The kernel computes 1 − βᵗ by a series, to a few units in the last place.
          const correction = (beta: number): b.Bounded => new b.Bounded(1 - beta, 8 * (1 - beta))
          const next = zip(decayed, (p, i) => {
            const root = b.sqrt(b.divide(second.data[i], correction(beta2)))
            const direction = b.divide(b.divide(first.data[i], correction(beta1)), b.add(root, b.rounded(epsilon)))
            return b.subtract(p, b.multiply(rate(), direction))
          })
          return { w: next, moments: [first, second] }
        },
      )
    },
  })

const sgd = family({
  name: 'sgd',
  drawn: fc.tuple(tensors, fc.boolean()),
  make: ([drawn, nesterov]) =>
    step(
      drawn,
      (parameters, { decay, momentum }) => ops.sgd(parameters, { momentum, weightDecay: decay, nesterov }),
      [{ name: 'buffer' }],
      ({ w, g, moments: [buffer] }, { decay, momentum }) => {
        const slope = zip(g, (d, i) => b.add(d, b.multiply(b.rounded(decay), w.data[i])))
        const velocity = zip(buffer, (v, i) => b.add(b.multiply(b.rounded(momentum), v), slope.data[i]))
        const next = zip(w, (p, i) => {
          const v = velocity.data[i]
          const direction = nesterov ? b.add(slope.data[i], b.multiply(b.rounded(momentum), v)) : v
          return b.subtract(p, b.multiply(rate(), direction))
        })
        return { w: next, moments: [velocity] }
      },
    ),
})

const norm = (list: readonly b.Bounded[]): b.Bounded => b.sqrt(b.dot(list, list))

const lars = family({
  name: 'lars',
  drawn: tensors,
  make: (drawn) =>
    step(
      drawn,
      (parameters, { decay, momentum }) => ops.lars(parameters, { momentum, weightDecay: decay, coefficient: 0.01 }),
      [{ name: 'buffer' }],
      ({ w, g, moments: [buffer] }, { decay, momentum }) => {
        const adapted = w.shape.length > 1
        const slope = adapted ? zip(g, (d, i) => b.add(d, b.multiply(b.rounded(decay), w.data[i]))) : g
        const [top, bottom] = [norm(w.data), norm(slope.data)]
        const trust =
          adapted && top.value > 0 && bottom.value > 0 ? b.divide(b.multiply(b.rounded(0.01), top), bottom) : b.exact(1)
        const velocity = zip(buffer, (v, i) =>
          b.add(b.multiply(b.rounded(momentum), v), b.multiply(trust, slope.data[i])),
        )
        return { w: zip(w, (p, i) => b.subtract(p, b.multiply(rate(), velocity.data[i]))), moments: [velocity] }
      },
    ),
})

const ema = family({
  name: 'ema',
  drawn: fc.tuple(tensors, fc.constantFrom(0, 0.9, 1)),
  make: ([{ shapes, arena, numbers: given }, share]): Case => {
    const averages = shapes.map((dims, i) => draw(given, `average ${i}`, dims))
    const values = shapes.map((dims, i) => draw(given, `value ${i}`, dims))
    return {
      inputs: {
        ...Object.fromEntries(values.map((v, i) => [`value ${i}`, v])),
        rate: { shape: [1], data: Float32Array.of(share) },
      },
      graph: (v) => {
        const list = averages.map(({ shape: dims, data }, i) => ops.variable(`average ${i}`, dims, data))
        if (arena) new ops.Arena(list)
        return {
          updates: ops.ema(
            list,
            shapes.map((_, i) => v[`value ${i}`]),
            v.rate,
          ),
          variables: Object.fromEntries(list.map((a, i) => [`average ${i}`, a])),
        }
      },
      expected: () =>
        Object.fromEntries(
          shapes.map((_, i) => {
            const kept = b.rounded(share)
            const after = b.map(toBounded(averages[i]), (a, k) =>
              b.add(b.multiply(kept, a), b.multiply(b.subtract(b.exact(1), kept), b.exact(values[i].data[k]))),
            )
            return [`average ${i}`, expect(after)]
          }),
        ),
    }
  },
})

const scalarOf = (v: b.Bounded): Expected => expect(b.tensor([1], [v]))

/** The gradients of a step, computed by the program, so that the op may move them beside each other. */
const gradientList = (shapes: readonly number[][], v: Readonly<Record<string, Value>>): Value[] =>
  shapes.map((_, i) => (i % 2 ? v[`g${i}`] : ops.scale(v[`g${i}`], 1)))

const drawnGradients = (shapes: readonly number[][], given: Numbers): Given[] =>
  shapes.map((dims, i) => draw(given, `g${i}`, dims))

const clip = family({
  name: 'clipByGlobalNorm',
  drawn: fc.tuple(tensors, fc.constantFrom(0.5, 1e6)),
  make: ([{ shapes, scaled, numbers: given }, most]): Case => {
    const list = drawnGradients(shapes, given)
    return {
      inputs: Object.fromEntries(list.map((g, i) => [`g${i}`, g])),
      graph: (v) => {
        const unscaling = scaled ? { factor: ops.filled([1], UNSCALE), applied: ops.filled([1], 1) } : undefined
        const { factor, applied, norm: length } = ops.clipByGlobalNorm(gradientList(shapes, v), most, unscaling)
        return { outputs: { factor, applied, norm: length } }
      },
      expected: () => {
        const unscale = b.exact(scaled ? UNSCALE : 1)
        const length = norm(list.flatMap((g) => toBounded(g).data.map((v) => b.multiply(unscale, v))))
        const share = b.divide(b.rounded(most), b.add(length, b.rounded(1e-6)))
        return {
          factor: scalarOf(share.value < 1 ? b.multiply(unscale, share) : unscale),
          applied: scalarOf(b.exact(1)),
          norm: scalarOf(length),
        }
      },
    }
  },
})

const lossScale = family({
  name: 'dynamicLossScale',
  drawn: fc.tuple(tensors, fc.boolean(), fc.boolean()),
  make: ([{ shapes, numbers: given }, overflows, doubles]): Case => {
    const list = drawnGradients(shapes, given)
    // One infinity, anywhere, must be found.
    const which = given.seed % shapes.length
    const data = list[which].data
    if (overflows) data[(given.seed * 7919) % data.length] = given.seed % 2 ? Infinity : NaN
    const interval = doubles ? 1 : 3
    return {
      inputs: Object.fromEntries(list.map((g, i) => [`g${i}`, g])),
      graph: (v) => {
        const scale = ops.dynamicLossScale({ initial: 1024, interval })
        const { factor, applied, update } = scale.judge(gradientList(shapes, v))
        return { outputs: { factor, applied }, updates: [update], variables: { state: scale.state } }
      },
      expected: () => {
        const state = overflows ? [512, 0, 1] : doubles ? [2048, 0, 0] : [1024, 1, 0]
        return {
          factor: scalarOf(b.exact(overflows ? 0 : 1 / 1024)),
          applied: scalarOf(b.exact(overflows ? 0 : 1)),
          state: expect(b.leaf([3], state)),
        }
      },
    }
  },
})

/** The segments of tensors, as lists of numbers, in order. */
const segmentsOf = (list: readonly Given[]): number[][] =>
  list.flatMap(({ data }) =>
    Array.from({ length: Math.ceil(data.length / SEGMENT) }, (_, s) => [
      ...data.subarray(s * SEGMENT, (s + 1) * SEGMENT),
    ]),
  )

const tensorHealth = family({
  name: 'tensorHealth',
  drawn: fc.record({ shapes, broken: fc.boolean(), numbers }),
  make: ({ shapes: dims, broken, numbers: given }): Case => {
    const list = drawnGradients(dims, given)
    const { data } = list[given.seed % list.length]
    if (broken) data[(given.seed * 7919) % data.length] = given.seed % 2 ? Infinity : NaN
    return {
      inputs: Object.fromEntries(list.map((g, i) => [`g${i}`, g])),
      graph: (v) => {
        const { sums, flags } = ops.tensorHealth(gradientList(dims, v))
        return { outputs: { sums, flags } }
      },
      expected: () => {
        const segments = segmentsOf(list)
        const finite = segments.map((segment) => segment.every(Number.isFinite))
        const sums = segments.map((segment, i) =>
          finite[i] ? b.sum(segment.map((v) => b.square(b.exact(v)))) : new b.Bounded(0, Infinity),
        )
        return {
          sums: expect(b.tensor([segments.length], sums)),
          flags: expect(
            b.leaf(
              [segments.length],
              finite.map((is) => (is ? 0 : 1)),
            ),
          ),
        }
      },
    }
  },
})

const gradientAccumulation = family({
  name: 'gradientAccumulation',
  drawn: fc.tuple(tensors, fc.constantFrom(1, 3), fc.nat(2)),
  make: ([{ shapes, numbers: given }, count, index]): Case => {
    const list = drawnGradients(shapes, given)
    return {
      inputs: {
        ...Object.fromEntries(list.map((g, i) => [`g${i}`, g])),
        index: { shape: [1], data: Uint32Array.of(index) },
      },
      graph: (v) => {
        const parameters = shapes.map((dims, i) => ops.variable(`w${i}`, dims))
        const sums = ops.gradientAccumulation(parameters, count)
        return {
          outputs: { seed: sums.seed() },
          updates: sums.add(gradientList(shapes, v), v.index),
          variables: Object.fromEntries(sums.mean.map((m, i) => [`mean ${i}`, m])),
        }
      },
      expected: () => ({
        seed: scalarOf(b.rounded(1 / count)),
        ...Object.fromEntries(list.map((g, i) => [`mean ${i}`, expect(toBounded(g))])),
      }),
    }
  },
})

export const optimizers: readonly Family[] = [
  ...(['adam', 'adamW'] as const).map(adam),
  ...[sgd, lars, ema, clip, lossScale, tensorHealth, gradientAccumulation],
]
