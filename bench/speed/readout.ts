/** Speed of the readout: the paper's linear probe and nearest neighbours at the size of CIFAR-10. */
import { knn } from '../../train/readout/knn.js'
import type { LabelledFeatures } from '../../train/readout/labelled_features.js'
import { linearProbe } from '../../train/readout/linear_probe.js'
import { summarize, type Summary } from '../report/statistics.js'
import { markdownTable } from '../../train/report/text.js'
import { figure, medianText } from '../report/text.js'
import type { Measurement, MeasureOptions } from './measurement.js'
import { randomValues } from './random_data.js'

export interface ReadoutCase {
  what: 'linear probe' | 'kNN'
  /** Number of training features. */
  train: number
  /** Number of test features. */
  test: number
  /** Of the features. */
  width: number
  classes: number
  /** Of the linear probe. */
  epochs?: number
  /** Numbers of neighbours. */
  ks?: number[]
}

export interface ReadoutResult extends ReadoutCase {
  /** From features in memory to accuracies. */
  seconds: Summary
}

/** CIFAR-10 with the features of a ResNet-18 and the paper's 200 epochs; a tenth of the images and epochs if `quick`. */
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

/** Random features that depend on their class. */
function features(count: number, { width, classes }: ReadoutCase, seed: number): LabelledFeatures {
  const values = randomValues(count * width, seed)
  const labels = Uint32Array.from({ length: count }, (_, i) => i % classes)
  labels.forEach((label, i) => (values[i * width + label] += 1))
  return { features: values, labels }
}

/** Measures each case with its compilation, because a user waits for that too. */
export async function benchReadout(options: MeasureOptions): Promise<Measurement> {
  const { engine, origin, rounds, quick, only, onMessage } = options
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
    const seconds = summarize(times)
    results.push({ ...c, seconds })
    onMessage(`${nameOf(c)}: ${figure(seconds.median)} s`)
  }
  if (!results.length) throw new Error(`--only '${only}': no readout case has this text in its name`)
  const rows = results.map((r) => [nameOf(r), medianText(r.seconds)])
  return {
    kind: 'readout',
    origin,
    results: { readout: results },
    markdown: ['## Readout', 'From features in memory to accuracies.', markdownTable(['readout', 's'], rows)].join(
      '\n\n',
    ),
    plots: {},
  }
}
