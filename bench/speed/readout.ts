/** What it takes to read features out: the paper's linear probe and nearest neighbours at the size of CIFAR-10. */
import { knn } from '../../train/readout/knn.js'
import type { LabelledFeatures } from '../../train/readout/labelled_features.js'
import { linearProbe } from '../../train/readout/linear_probe.js'
import { figure, table, type MeasureOptions, type Report } from './report.js'
import { summarize, type Summary } from './statistics.js'

export interface ReadoutCase {
  what: 'linear probe' | 'kNN'
  /** Training features, test features and their width. */
  train: number
  test: number
  width: number
  classes: number
  /** Of the probe. */
  epochs?: number
  /** Neighbours. */
  ks?: number[]
}

export interface ReadoutResult extends ReadoutCase {
  /** From features in memory to accuracies. */
  seconds: Summary
}

/** CIFAR-10 with a ResNet-18's features, and the paper's 200 epochs; a tenth of both with `quick`. */
export function readoutCases(quick: boolean): ReadoutCase[] {
  const sizes = { train: quick ? 5_000 : 50_000, test: quick ? 1_000 : 10_000, width: 512, classes: 10 }
  return [
    { what: 'linear probe', ...sizes, epochs: quick ? 20 : 200 },
    { what: 'kNN', ...sizes, ks: [20, 200] },
  ]
}

const nameOf = ({ what, train, test, width, epochs, ks }: ReadoutCase): string =>
  `${what}, ${train.toLocaleString('en')} × ${width} features, ${test.toLocaleString('en')} of test` +
  (epochs ? `, ${epochs} epochs` : '') +
  (ks ? `, k = ${ks.join(' and ')}` : '')

/** Features that say something of their class, the same ones at every call. */
function features(count: number, { width, classes }: ReadoutCase, seed: number): LabelledFeatures {
  const values = new Float32Array(count * width)
  // A full period of a linear congruence: quick to make.
  for (let i = 0, state = seed; i < values.length; i++)
    values[i] = (state = (Math.imul(state, 1664525) + 1013904223) | 0) / 2 ** 31
  const labels = Uint32Array.from({ length: count }, (_, i) => i % classes)
  labels.forEach((label, i) => (values[i * width + label] += 1))
  return { features: values, labels }
}

/** Measures each case from features to accuracies, compilation included: what a user waits for. */
export async function benchReadout({
  engine,
  origin,
  rounds,
  quick,
  only,
  onMessage,
}: MeasureOptions): Promise<Report> {
  const results: ReadoutResult[] = []
  for (const c of readoutCases(quick)) {
    if (only && !nameOf(c).includes(only)) continue
    const [train, test] = [features(c.train, c, 1), features(c.test, c, 2)]
    const times: number[] = []
    for (let round = 0; round < rounds; round++) {
      const started = performance.now()
      if (c.ks) await knn(engine, train, test, { classes: c.classes, ks: c.ks })
      else await linearProbe(engine, train, test, { classes: c.classes, seeds: [1], epochs: c.epochs })
      times.push((performance.now() - started) / 1000)
    }
    results.push({ ...c, seconds: summarize(times) })
    onMessage(`${nameOf(c)}: ${figure(summarize(times).median)} s`)
  }
  if (!results.length) throw new Error(`--only '${only}': no readout is called that`)
  const rows = results.map((r) => [
    nameOf(r),
    `${figure(r.seconds.median)} [${figure(r.seconds.low)}–${figure(r.seconds.high)}]`,
  ])
  return {
    kind: 'readout',
    origin,
    results: { readout: results },
    markdown: ['## Readout', 'From features in memory to accuracies.', table(['readout', 's'], rows)].join('\n\n'),
    plots: {},
  }
}
