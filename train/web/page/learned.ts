/** What the network has learned: the correlations of its embeddings and the spectrum of its features. */
import type { Reading } from '../protocol.js'
import { counted } from '../../report/text.js'
import { Chart, type Line } from './chart.js'
import { colorOf, element, find, setText } from './dom.js'

type Kind = Reading['of']

/** Correlations of this size and above have the full colour. */
const FULL = 1
/** Below 1: small correlations are easier to see. */
const CONTRAST = 0.8

export class Learned {
  private readings = new Map<Kind, Reading>()
  private readonly chart = new Chart('spectrum', {
    ...{ height: 260, xTitle: 'rank of the direction', yTitle: 'share of variance', logarithmic: true },
    formatY: (value) => (isPowerOfTen(value) ? `${Number((100 * value).toPrecision(1))} %` : ''),
    formatX: (value) =>
      isPowerOfTen(value) || isPowerOfTen(value / 2) || isPowerOfTen(value / 5) ? String(value) : '',
  })

  show(reading: Reading): void {
    this.readings.set(reading.of, reading)
    setText(find('dim-text'), String(reading.dim))
    this.drawMatrix(reading)
    this.drawSpectrum()
  }

  clear(): void {
    this.readings = new Map()
  }

  recolor(): void {
    for (const reading of this.readings.values()) this.drawMatrix(reading)
    this.chart.recolor()
  }

  private drawMatrix({ of, dim, matrix, step }: Reading): void {
    const canvas = find<HTMLCanvasElement>(`matrix-${of}`)
    canvas.width = canvas.height = dim
    const context = canvas.getContext('2d')!
    const image = context.createImageData(dim, dim)
    const [negative, zero, positive] = ['--negative', '--zero', '--positive'].map((name) => channels(colorOf(name)))
    matrix.forEach((value, i) => {
      const end = value < 0 ? negative : positive
      const share = Math.min(1, Math.abs(value) / FULL) ** CONTRAST
      for (let channel = 0; channel < 3; channel++)
        image.data[4 * i + channel] = zero[channel] + (end[channel] - zero[channel]) * share
      image.data[4 * i + 3] = 255
    })
    context.putImageData(image, 0, 0)
    const { diagonal, others } = summary(matrix, dim)
    const text = `diagonal ${diagonal.toFixed(2)}, others ±${others.toFixed(2)}`
    canvas.setAttribute(
      'aria-label',
      `Correlations of ${dim} numbers, ${of === 'now' ? `after ${step} steps` : 'untrained'}: ${text}`,
    )
    setText(find(`matrix-${of}-text`), text)
  }

  private drawSpectrum(): void {
    const [untrained, now] = [this.readings.get('untrained'), this.readings.get('now')]
    const shares = (reading?: Reading): (number | null)[] => {
      const total = reading?.eigenvalues.reduce((a, b) => a + b, 0) ?? 0
      return (reading?.eigenvalues ?? []).map((value) => (value > 0 ? value / total : null))
    }
    const [before, after] = [shares(untrained), shares(now)]
    const length = Math.max(before.length, after.length)
    const x = Array.from({ length }, (_, i) => i + 1)
    const highest = after[0] ?? before[0] ?? 1
    const isTrained = (now?.step ?? 0) > 0
    const lines: Line[] = [
      { label: 'α = 1', color: '--faint-line', y: x.map((rank) => highest / rank), width: 1.5, dash: [4, 5] },
      { label: 'untrained', color: '--before', y: before },
      { label: 'now', color: '--accent', y: isTrained ? after : x.map(() => null) },
    ]
    const sentence = [
      describe('Untrained', untrained),
      isTrained ? describe(`After ${counted(now!.step, 'step')}`, now) : '',
    ]
      .filter(Boolean)
      .join(' ')
    this.chart.show(x, lines, `Variance by rank. ${sentence}`)
    find('spectrum-text').replaceChildren(
      element('span', { class: 'key before' }, describe('Untrained', untrained)),
      ...(isTrained
        ? [element('span', { class: 'key now' }, describe(`After ${counted(now!.step, 'step')}`, now))]
        : []),
    )
  }
}

const describe = (when: string, reading?: Reading): string =>
  reading
    ? `${when}: α ${reading.alpha?.toFixed(2) ?? 'unknown'}, about ${reading.effectiveRank.toFixed(0)} of ${reading.features} directions in use.`
    : ''

/** The mean of the diagonal, and the root mean square of the others. */
export function summary(matrix: Float32Array, dim: number): { diagonal: number; others: number } {
  let [diagonal, squares] = [0, 0]
  matrix.forEach((value, i) => {
    if (i % (dim + 1) === 0) diagonal += value
    else squares += value * value
  })
  return { diagonal: diagonal / dim, others: Math.sqrt(squares / Math.max(1, dim * (dim - 1))) }
}

/** Red, green and blue of a computed colour. */
const channels = (color: string): number[] => (color.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number)

const isPowerOfTen = (value: number): boolean => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-6
