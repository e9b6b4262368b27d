/** Progress on a terminal: every line fits, and nothing remains of earlier lines. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { pretrainDisplay } from '../../../train/cli/display.js'
import { beginPhase } from '../../../train/cli/phases.js'
import type { StepMetrics } from '../../../train/run/metrics.js'

beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => vi.useRealTimers())

const CLEAR = '⌫'

/** A terminal that understands what the status line writes. */
class Screen {
  readonly isTTY = true
  lines = ['']
  private column = 0
  widest = 0
  constructor(readonly columns: number) {}
  write(text: string): boolean {
    for (const piece of text.replaceAll('\u001b[K', CLEAR)) this.put(piece)
    return true
  }
  private put(piece: string): void {
    const last = this.lines.length - 1
    if (piece === '\r') this.column = 0
    else if (piece === '\n') {
      this.lines.push('')
      this.column = 0
    } else if (piece === CLEAR) this.lines[last] = [...this.lines[last]].slice(0, this.column).join('')
    else {
      const line = [...this.lines[last]]
      line[this.column++] = piece
      this.lines[last] = line.join('')
      this.widest = Math.max(this.widest, this.column)
    }
  }
  get stream(): NodeJS.WriteStream {
    return this as unknown as NodeJS.WriteStream
  }
}

const STEPS = 1_171_875
const metrics = (step: number, more: Partial<StepMetrics> = {}): StepMetrics => ({
  ...{ step, steps: STEPS, epoch: 99, loss: 12345.678, lr: 1e-3, imagesPerSecond: 1234.5, seconds: 1.4 * (step - 1) },
  ...more,
})

test.each([30, 40, 60, 80, 120])('a line with everything fits %i columns, and shows the time left', (columns) => {
  const screen = new Screen(columns)
  const display = pretrainDisplay(screen.stream)
  display.begin(0, STEPS)
  for (let step = 1; step <= 5; step++) {
    display.step(metrics(step, { lambda: 0.012345, probeTop1: 0.37 }))
    vi.advanceTimersByTime(1000)
  }
  expect(screen.lines).toHaveLength(1)
  expect(screen.lines[0]).toMatch(/(^|[ ·])455 h 44 min left$/)
  expect(screen.lines[0].includes('step 5/1171875')).toBe(columns >= 40)
  expect(screen.lines[0].includes('images/s')).toBe(columns >= 80)
  expect(screen.lines[0].includes('λ 0.0123')).toBe(columns >= 120)
  expect(screen.widest).toBeLessThan(columns)
})

test('the bar keeps its length, and what was left out once does not come back', () => {
  const screen = new Screen(80)
  const display = pretrainDisplay(screen.stream)
  const shown: string[] = []
  display.begin(0, 9000)
  const losses = [1.5, 123456, 1.5, 1.5]
  losses.forEach((loss, i) => {
    // The second line has no room for the epoch.
    display.step(metrics(1 + i, { steps: 9000, loss, lambda: i === 1 ? 0.012345 : undefined, seconds: 9.1 * i }))
    vi.advanceTimersByTime(1000)
    shown.push(screen.lines[screen.lines.length - 1])
  })
  expect(shown.map((line) => line.replace(/^([█░]*) .*$/, '$1').length)).toEqual([8, 8, 8, 8])
  expect(shown.map((line) => line.includes('epoch 100'))).toEqual([true, false, false, false])
})

test('a long message is broken between words', () => {
  const screen = new Screen(40)
  const display = pretrainDisplay(screen.stream)
  display.message('stopping after the steps in flight; press Ctrl-C again to quit at once')
  expect(screen.lines).toEqual(['stopping after the steps in flight;', '  press Ctrl-C again to quit at once', ''])
})

test('before the first step has ended no time is guessed', () => {
  const screen = new Screen(80)
  const display = pretrainDisplay(screen.stream)
  display.prepare('compiling kernels', 1, 2)
  display.prepare('compiling kernels', 2, 2)
  display.begin(0, 100)
  vi.advanceTimersByTime(200)
  expect(screen.lines.join('\n')).toMatch(/^[█░]+ step 1 of 100 running$/)
  vi.advanceTimersByTime(125_000)
  expect(screen.lines.join('\n')).toMatch(/^[█░]+ step 1 of 100 running · 2 min \d s so far · the first step is slow$/)
  display.step(metrics(1, { steps: 100, seconds: 0 }))
  vi.advanceTimersByTime(200)
  expect(screen.lines.join('\n')).toMatch(/ step 1\/100 .* … images\/s · … left$/)
})

test('messages come above the line, shorter lines leave no remains, and the last line stays', () => {
  const screen = new Screen(80)
  const display = pretrainDisplay(screen.stream)
  display.begin(10, 12)
  display.message('epoch 1: kNN-20 top-1 12.3 %')
  display.step(metrics(11, { steps: 12, loss: 1.5, probeTop1: 0.5 }))
  vi.advanceTimersByTime(200)
  display.message('stopping after the steps in flight; press Ctrl-C again to quit at once')
  display.step(metrics(12, { steps: 12, loss: 1.25 }))
  display.stop()
  display.stop()
  expect(screen.lines).toEqual([
    'epoch 1: kNN-20 top-1 12.3 %',
    'stopping after the steps in flight; press Ctrl-C again to quit at once',
    expect.stringMatching(/^█+ step 12\/12 · .*loss 1\.250 · 1235 images\/s · 0 s left$/),
    '',
  ])
})

test('a phase guesses no time from what came before its first step, and leaves one line', () => {
  const screen = new Screen(80)
  const phase = beginPhase('pretraining, 2 views', screen.stream)
  // Compilation takes a minute.
  vi.advanceTimersByTime(60_000)
  phase.update(1, 101, 'loss 1.234')
  expect(screen.lines[0]).toMatch(/^[█░]+ pretraining, 2 views · 1\/101 · loss 1\.234$/)
  vi.advanceTimersByTime(1000)
  phase.update(2, 101, 'loss 1.2')
  vi.advanceTimersByTime(200)
  expect(screen.lines[0]).toMatch(/· 2\/101 · 1 min 39 s left · loss 1\.2$/)
  phase.finish()
  expect(screen.lines).toEqual([expect.stringMatching(/^pretraining, 2 views +1 min 1 s$/), ''])
})
