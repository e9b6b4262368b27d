/** The training as the page shows it: progress, loss, speed and time left. */
import type { StepMetrics } from '../../run/metrics.js'
import { duration, formatCount } from '../../report/text.js'
import { Chart, shortNumber } from './chart.js'
import type { Dock } from './dock.js'
import { announce, element, find, setText } from './dom.js'

/** Weight of the past in the smooth line. */
const SMOOTH = 0.9
/** Points of the line; longer runs are thinned. */
const MOST_POINTS = 1500

export class Training {
  private steps: number[] = []
  private losses: number[] = []
  private readonly chart = new Chart('loss', { height: 240, xTitle: 'steps', yTitle: 'loss' })
  private readonly figures = new Map<string, HTMLElement>()

  constructor(private readonly dock: Dock) {
    const names = { step: 'Step', loss: 'Loss', speed: 'Pictures per second', left: 'Time left' }
    for (const [id, name] of Object.entries(names)) {
      const value = element('dd', { id: `figure-${id}` }, '–')
      this.figures.set(id, value)
      find('figures').append(element('div', {}, element('dt', {}, name), value))
    }
  }

  /** Begins with nothing, or with the steps of a run so far. */
  start(metrics: readonly StepMetrics[] = []): void {
    this.steps = []
    this.losses = []
    for (const figure of this.figures.values()) setText(figure, '–')
    for (const { step, loss } of metrics) this.keep(step, loss)
    const last = metrics[metrics.length - 1] as StepMetrics | undefined
    if (last) this.say(last)
    this.progress(last ? last.step / last.steps : 0)
    this.draw()
  }

  /** A run goes on from a step: later ones are done again. */
  begin(step: number): void {
    const kept = this.steps.findIndex((s) => s > step)
    if (kept < 0) return
    this.steps.length = kept
    this.losses.length = kept
  }

  step(metrics: StepMetrics): void {
    this.keep(metrics.step, metrics.loss)
    this.say(metrics)
    const { step, steps, imagesPerSecond, seconds } = metrics
    const left = ((steps - step) * seconds) / Math.max(1, step)
    setText(this.figures.get('speed')!, imagesPerSecond > 0 ? shortNumber(Math.round(imagesPerSecond)) : '–')
    const timeLeft = step < steps && seconds > 0 ? duration(left) : '–'
    setText(this.figures.get('left')!, timeLeft)
    this.progress(step / steps)
    this.draw()
    const stands = `Step ${formatCount(step)} of ${formatCount(steps)}, loss ${shortNumber(metrics.loss)}`
    this.dock.say(timeLeft === '–' ? stands : `${stands}, ${timeLeft} left`)
    announce(stands)
  }

  /** @param share from 0 to 1 */
  progress(share: number): void {
    find<HTMLProgressElement>('progress').value = share
    this.dock.progress(share)
  }

  recolor(): void {
    this.chart.recolor()
  }

  private say({ step, steps, loss }: StepMetrics): void {
    setText(this.figures.get('step')!, `${formatCount(step)} of ${formatCount(steps)}`)
    setText(this.figures.get('loss')!, shortNumber(loss))
  }

  private keep(step: number, loss: number): void {
    this.steps.push(step)
    this.losses.push(loss)
  }

  private draw(): void {
    const stride = Math.ceil(this.steps.length / MOST_POINTS)
    const kept = (_: number, i: number): boolean => i % stride === 0 || i === this.steps.length - 1
    const lines = [
      { label: 'loss', color: '--faint-line', y: this.losses.filter(kept), width: 1 },
      { label: 'smooth', color: '--accent', y: smooth(this.losses).filter(kept) },
    ]
    const { length } = this.losses
    const sentence = length
      ? `Loss by steps: ${shortNumber(this.losses[0])} at first, ${shortNumber(this.losses[length - 1])} at step ${this.steps[length - 1]}`
      : 'Loss by steps: nothing yet'
    this.chart.show(this.steps.filter(kept), lines, sentence)
  }
}

/** A moving average that is not drawn to zero at its beginning. */
function smooth(values: readonly number[]): number[] {
  let [sum, weight] = [0, 0]
  return values.map((value) => {
    sum = SMOOTH * sum + value
    weight = SMOOTH * weight + 1
    return sum / weight
  })
}
