/** A gallery of pictures; a chosen one shows its nearest neighbours, untrained and now. */
import { counted } from '../../report/text.js'
import type { Pictures, Reading } from '../protocol.js'
import { element, find, paint, setText } from './dom.js'

/** Pictures to choose from at a time. */
const CHOICES = 24

export class NeighbourFinder {
  private pictures: Pictures | undefined
  private readings = new Map<Reading['of'], Reading>()
  private first = 0
  private chosen = 0

  constructor() {
    find('others').addEventListener('click', () => {
      this.first += CHOICES
      if (this.first >= this.count) this.first = 0
      this.choose(this.first)
      this.fill()
    })
  }

  start(pictures: Pictures): void {
    this.pictures = pictures
    this.readings = new Map()
    this.first = this.chosen = 0
    this.fill()
  }

  show(reading: Reading): void {
    this.readings.set(reading.of, reading)
    this.list(reading)
    this.agree()
  }

  clear(): void {
    this.readings = new Map()
    for (const of of ['untrained', 'now'] as const) find(`nearest-${of}`).replaceChildren()
  }

  private get count(): number {
    const { shown, height, width } = this.pictures!
    return shown.length / (height * width * 3)
  }

  /** What a picture is called. */
  private name(index: number): string {
    const { labels, classes } = this.pictures!
    return labels.length ? classes[labels[index]] : `picture ${index + 1}`
  }

  private canvas(index: number): HTMLCanvasElement {
    const { shown, height, width } = this.pictures!
    const canvas = element('canvas')
    const bytes = height * width * 3
    paint(canvas, { pixels: shown.subarray(index * bytes, (index + 1) * bytes), height, width })
    return canvas
  }

  private fill(): void {
    const last = Math.min(this.count, this.first + CHOICES)
    const buttons = Array.from({ length: last - this.first }, (_, i) => {
      const index = this.first + i
      const button = element(
        'button',
        {
          ...{ type: 'button', 'aria-label': `Neighbours of ${this.name(index)}, number ${index + 1}` },
          'aria-pressed': String(index === this.chosen),
          onclick: () => this.choose(index),
        },
        this.canvas(index),
      )
      button.dataset.index = String(index)
      return button
    })
    find('gallery').replaceChildren(...buttons)
    find('others').hidden = this.count <= CHOICES
  }

  private choose(index: number): void {
    this.chosen = index
    for (const button of find('gallery').querySelectorAll('button'))
      button.setAttribute('aria-pressed', String(button.dataset.index === String(index)))
    for (const reading of this.readings.values()) this.list(reading)
  }

  private list({ of, neighbours, similarities, k }: Reading): void {
    const { labels } = this.pictures!
    const items = Array.from({ length: k }, (_, i) => {
      const index = neighbours[this.chosen * k + i]
      const isSame = labels.length > 0 && labels[index] === labels[this.chosen]
      const canvas = this.canvas(index)
      canvas.setAttribute('role', 'img')
      const name = this.name(index)
      canvas.setAttribute('aria-label', `${name}, similarity ${similarities[this.chosen * k + i].toFixed(2)}`)
      return element(
        'li',
        { 'data-index': index, class: isSame ? 'same' : '' },
        canvas,
        element('span', {}, labels.length ? name : ''),
      )
    })
    find(`nearest-${of}`).replaceChildren(...items)
  }

  /** With classes: how often the nearest picture shows the same thing. */
  private agree(): void {
    const [untrained, now] = [this.readings.get('untrained'), this.readings.get('now')]
    const percent = (share: number): string => `${(100 * share).toFixed(0)} %`
    const { agreement } = untrained ?? {}
    if (agreement === undefined) return setText(find('agreement'), '')
    const after =
      now?.agreement !== undefined && now.step > 0
        ? `; after ${counted(now.step, 'step')} ${percent(now.agreement)}`
        : ''
    setText(
      find('agreement'),
      `The nearest picture is of the same class for ${percent(agreement)} of the pictures when untrained${after}. The network never saw a class.`,
    )
  }
}
