/** Losses and what they are made of. */
import fc from 'fast-check'
import * as b from '../bounded.js'
import { differentiable, draw, family, numbers, size, within, type Family, type Numbers } from '../case.js'
import { ops } from '../ops.js'

/** Numbers near 0: exponentials of the others leave f32. */
const small = (given: Numbers): Numbers => ({ ...given, kind: given.kind === 'sparse' ? 'sparse' : 'normal' })

const column = (x: b.BoundedTensor, k: number): b.Bounded[] => x.data.filter((_, i) => i % x.shape[1] === k)
const row = (x: b.BoundedTensor, r: number): b.Bounded[] => x.data.slice(r * x.shape[1], (r + 1) * x.shape[1])
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

const crossCorrelation = family({
  name: 'crossCorrelation',
  drawn: fc.record({ rows: size(33), d: size(33), e: size(33), numbers }),
  make: ({ rows, d, e, numbers: given }) => {
    const n = Math.max(2, rows)
    return differentiable({
      inputs: { a: draw(given, 'a', [n, d]), b: draw(given, 'b', [n, e]) },
      build: (v) => ops.crossCorrelation(v.a, v.b),
      reference: (t) => {
        const [left, right] = [range(d).map((k) => column(t.a, k)), range(e).map((k) => column(t.b, k))]
        return b.tensor(
          [d, e],
          left.flatMap((p) => right.map((q) => b.multiply(b.rounded(1 / n), b.dot(p, q)))),
        )
      },
      seed: given.seed,
    })
  },
})

/** Of diagonal matrices x² + 1, for which the elimination has no differences. */
const logDeterminant = family({
  name: 'logDeterminant',
  drawn: fc.record({ n: size(4), d: size(67), numbers }),
  make: ({ n, d, numbers: given }) =>
    differentiable({
      inputs: { x: draw(small(given), 'x', [n, d]) },
      build: ({ x }) => {
        const diagonal = ops.constant(
          Float32Array.from({ length: d * d }, (_, i) => (i % (d + 1) === 0 ? 1 : 0)),
          [1, d, d],
        )
        return ops.logDeterminant(ops.multiply(ops.reshape(ops.affine(ops.square(x), 1, 1), [n, 1, d]), diagonal))
      },
      reference: ({ x }) =>
        b.tensor(
          [n],
          range(n).map((i) => b.sum(row(x, i).map((v) => b.log(b.add(b.square(v), b.exact(1)))))),
        ),
      seed: given.seed,
    }),
})

const gram = family({
  name: 'gram',
  drawn: fc.record({ rows: size(33), d: size(67), divisor: fc.constantFrom(1, 3, 0.07), numbers }),
  make: ({ rows, d, divisor, numbers: given }) =>
    differentiable({
      inputs: { z: draw(given, 'z', [rows, d]) },
      build: ({ z }) => ops.gram(z, divisor),
      reference: ({ z }) => {
        const list = range(rows).map((r) => row(z, r))
        return b.tensor(
          [rows, rows],
          list.flatMap((p) => list.map((q) => b.multiply(b.rounded(1 / divisor), b.dot(p, q)))),
        )
      },
      seed: given.seed,
    }),
})

const orthogonality = family({
  name: 'orthogonalityLoss',
  drawn: fc.record({
    batch: fc.option(size(5)),
    d: size(67),
    onDiagonal: fc.constantFrom(1, 0),
    offDiagonal: fc.constantFrom(1, 0.04),
    target: fc.constantFrom(1, 0),
    numbers,
  }),
  make: ({ batch, d, onDiagonal, offDiagonal, target, numbers: given }) => {
    const size = batch ? Math.min(d, 33) : d
    return differentiable({
      inputs: { c: draw(given, 'c', batch ? [batch, size, size] : [size, size]) },
      build: ({ c }) => ops.orthogonalityLoss(c, { onDiagonal, offDiagonal, target }),
      reference: ({ c }) => {
        const terms = c.data.map((v, i) => {
          const diagonal = Math.floor(i / size) % size === i % size
          return diagonal
            ? b.multiply(b.rounded(onDiagonal), b.square(b.subtract(v, b.exact(target))))
            : b.multiply(b.rounded(offDiagonal), b.square(v))
        })
        return b.tensor([1], [b.sum(terms)])
      },
      seed: given.seed,
    })
  },
})

/** log Σ exp and the differences from the largest number, as f32 can compute them without overflow. */
function logSumExp(list: readonly b.Bounded[]): { log: b.Bounded; from: (v: b.Bounded) => b.Bounded } {
  const top = b.exact(Math.max(...list.map(({ value }) => value)))
  const from = (v: b.Bounded): b.Bounded => b.subtract(v, top)
  return { log: b.log(b.sum(list.map((v) => b.exp(from(v))))), from }
}

interface CrossEntropyCase {
  rows: number
  columns: number
  padding: number
  smoothing: number
  masked: boolean
  numbers: Numbers
}

const crossEntropyDrawn: fc.Arbitrary<CrossEntropyCase> = fc.record({
  rows: size(67),
  columns: size(67),
  padding: fc.nat(5),
  smoothing: fc.constantFrom(0, 0.1),
  masked: fc.boolean(),
  numbers,
})

const crossEntropy = (name: 'crossEntropy' | 'crossEntropyRows'): Family =>
  family({
    name,
    drawn: crossEntropyDrawn,
    make: ({ rows, columns, padding, smoothing, masked, numbers: given }) => {
      const classes = Math.max(1, columns - padding)
      const labels = Uint32Array.from(range(rows), (i) =>
        masked && i % 3 === 1 ? ops.MASKED_LABEL : (7 * i + given.seed) % classes,
      )
      const options = { labelSmoothing: smoothing, classes }
      return differentiable({
        inputs: { logits: draw(small(given), 'logits', [rows, columns]) },
        fixed: { labels: { shape: [rows], data: labels } },
        build: (v) => ops[name](v.logits, v.labels, options),
        reference: ({ logits }) => {
          const losses = range(rows).map((r) => {
            if (labels[r] >= classes) return b.exact(0)
            const list = row(logits, r).slice(0, classes)
            const { log, from } = logSumExp(list)
            const share = b.multiply(b.rounded(smoothing / classes), b.sum(list.map(from)))
            const own = b.multiply(b.rounded(1 - smoothing), from(list[labels[r]]))
            return b.sum([log, b.negate(own), b.negate(share)])
          })
          return name === 'crossEntropyRows' ? b.tensor([rows], losses) : b.tensor([1], [b.mean(losses)])
        },
        seed: given.seed,
      })
    },
  })

const ntXent = family({
  name: 'ntXentRows',
  drawn: fc.record({ batch: fc.option(size(5)), half: size(17), numbers }),
  make: ({ batch, half, numbers: given }) => {
    const n = 2 * half
    const count = batch ? within(3000, batch, n, n) : 1
    return differentiable({
      inputs: { s: draw(small(given), 's', batch ? [count, n, n] : [n, n]) },
      build: ({ s }) => ops.ntXentRows(s),
      reference: ({ s }) => {
        const losses = range(count * n).map((i) => {
          const [own, partner] = [i % n, (i + half) % n]
          const all = s.data.slice(i * n, (i + 1) * n)
          const { log, from } = logSumExp(all.filter((_, c) => c !== own))
          return b.subtract(log, from(all[(partner + n) % n]))
        })
        return b.tensor(batch ? [count, n] : [n], losses)
      },
      seed: given.seed,
    })
  },
})

export const losses: readonly Family[] = [
  ...[crossCorrelation, gram, orthogonality, ntXent, logDeterminant],
  ...(['crossEntropy', 'crossEntropyRows'] as const).map(crossEntropy),
]
