import { describe, expect, it } from 'vitest'
import { contactSheet } from '../../../train/node/contact_sheet.js'
import { escapeHtml, html } from '../../../train/report/html.js'
import { barChart, lineChart, smooth, thin } from '../../../train/report/plots.js'
import { quickstartReport } from '../../../train/report/quickstart_report.js'
import { findings, terminalTable, type Arm, type QuickstartSummary } from '../../../train/report/quickstart_summary.js'

const accuracy = (top1: number) => ({ top1, standardError: 0.01 })

function trained(views: number, top1: number): Arm {
  const losses = [30, 20, 15]
  const training = {
    views,
    batch: 256 / views,
    steps: 3,
    seconds: 178,
    viewsPerSecond: 500,
    losses,
    times: [0, 1, 2],
    folder: `runs/q/${views}-views`,
  }
  return { name: `${views} views`, training, linear: accuracy(top1), knn20: accuracy(top1 - 0.02) }
}

const summary = (arms: Arm[]): QuickstartSummary => ({
  date: '2026-01-31T17:05:09.000Z',
  adapter: { kind: 'lavapipe', description: 'a <fast> & "software" adapter' },
  seconds: 400,
  dataset: { name: 'CIFAR-10', count: 50_000, classes: ['cat', 'dog'] },
  network: {
    arch: 'resnet18',
    width: 8,
    parameters: 175_752,
    features: 64,
    imageSize: 16,
    projectorDim: 64,
    lambda: 0.04,
    lr: 1e-3,
    weightDecay: 1e-6,
    seed: 1,
  },
  readout: { trainCount: 10_000, testCount: 2000, views: 1, seeds: [1, 2, 3] },
  arms,
})

const untrained: Arm = { name: 'untrained', linear: accuracy(0.28), knn20: accuracy(0.24) }
const full = summary([untrained, trained(2, 0.351), trained(4, 0.392)])

/** The URLs in attributes and style rules that a browser would load. Data URLs do not count. */
const fetched = (page: string) =>
  [...page.matchAll(/(?:\b(?:src|href|action|poster|data)=["']?|url\(|@import\s)(?!["']?data:)[^\s>]*/g)].map(
    ([hit]) => hit,
  )

describe('page', () => {
  it('escapes inserted text, but not markup', () => {
    const inner = html`<b>${'<&>'}</b>`
    expect(html`<p title="${`"'`}">${inner}${[1, 'a<b']}${undefined}</p>`.text).toBe(
      '<p title="&quot;&#39;"><b>&lt;&amp;&gt;</b>1a&lt;b</p>',
    )
    expect(escapeHtml('plain')).toBe('plain')
  })
})

describe('quickstart report', () => {
  it('holds all its parts in one file that loads nothing from outside', async () => {
    const png = await contactSheet([[{ pixels: Uint8Array.of(1, 2, 3), height: 1, width: 1 }]], { tile: 2 })
    const cat = { png, label: 'cat' }
    const neighbours = [
      {
        query: cat,
        found: [
          { name: 'untrained', neighbours: [{ png, label: 'dog' }] },
          { name: '4 views', neighbours: [cat] },
        ],
      },
    ]
    const page = await quickstartReport(full, { views: { png, count: 8 }, neighbours })
    expect(page.match(/<svg/g)).toHaveLength(3)
    expect(page.match(/data:image\/png;base64,/g)).toHaveLength(4)
    expect(page).toContain('39.2 ± 1.0 %')
    expect(page).toContain('a &lt;fast&gt; &amp; &quot;software&quot; adapter')
    expect(page).toContain('2026-01-31 17:05 UTC')
    expect(page).toContain('untrained 0 of 1, 4 views 1 of 1')
    expect(page.match(/class="same"/g)).toHaveLength(1)
    expect(page).toContain('npm run probe -- --run runs/q/4-views')
    expect(page).not.toMatch(/https?:|<script|undefined|NaN/)
    expect(fetched(page)).toEqual([])
    expect(fetched('<img src="a.png"><i style="background:url(b)">')).toHaveLength(2)
  })

  it('leaves out missing parts', async () => {
    const page = await quickstartReport(
      summary([{ name: 'untrained' }, { ...trained(4, 0.3), linear: undefined, knn20: undefined }]),
    )
    expect(page.match(/<svg/g)).toHaveLength(2)
    expect(page).not.toMatch(/Accuracy of|Neighbours in|The views|undefined|NaN/)
    const empty = await quickstartReport(summary([]))
    expect(empty).toContain('What was run')
    expect(empty).not.toMatch(/<svg|undefined|NaN|Infinity/)
  })
})

describe('findings', () => {
  it('say what pretraining gained, and whether more views gained more than noise', () => {
    expect(findings(full)).toMatch(
      /39\.2 % .* 4 views, 11\.2 points above .* 4 views are 4\.1 points ahead of 2 views: more than two/,
    )
    const close = findings(summary([untrained, trained(2, 0.36), trained(4, 0.35)]))
    expect(close).toMatch(/36\.0 % .* 2 views.* 1\.0 points behind 2 views: within two/)
    expect(findings(summary([untrained, trained(2, 0.2)]))).toContain('8.0 points below')
    expect(findings(summary([untrained]))).toBe('')
  })

  it('come with a table of aligned columns', () => {
    const lines = terminalTable(full).split('\n')
    expect(lines).toHaveLength(4)
    expect(new Set(lines.map((line) => line.length)).size).toBe(1)
    expect(lines[3]).toMatch(/^4 views +39\.2 ± 1\.0 % +37\.2 ± 1\.0 % +64 × 4 +3 +2 min 58 s$/)
  })
})

describe('charts', () => {
  it('draw each curve and its running mean, with titles and names', async () => {
    const points = Array.from({ length: 50 }, (_, i) => ({ x: i, y: 1 / (1 + i) }))
    const series = [
      { name: 'one', color: '#112233', points },
      { name: 'two', color: '#445566', points },
    ]
    const svg = await lineChart({ series, x: 'steps', y: 'loss', description: 'falls & falls' })
    expect(
      svg.match(
        /<path[^>]*stroke="#112233"[^>]*stroke-width="2\.2"|<path[^>]*stroke-width="2\.2"[^>]*stroke="#112233"/g,
      )?.length,
    ).toBeGreaterThan(0)
    for (const text of ['>steps<', '>loss<', '>one<', '>two<']) expect(svg).toContain(text)
    expect(svg).not.toContain('http')
  })

  it('draw bars with heights proportional to their values', async () => {
    const bars = [
      { group: 'probe', name: 'a', value: 0.2, error: 0.01 },
      { group: 'probe', name: 'b', value: 0.4, error: 0.01 },
    ]
    const names = [
      { name: 'a', color: '#aa0000' },
      { name: 'b', color: '#00bb00' },
    ]
    const svg = await barChart({ bars, names, y: 'accuracy', description: 'two bars' })
    const height = (fill: string) =>
      [...svg.matchAll(/<path[^>]*aria-roledescription="bar"[^>]*>/g)]
        .map(([path]) => path)
        .filter((path) => path.includes(fill))
        .map((path) => Number(/v(-?[\d.]+)/.exec(path)?.[1]))[0]
    expect(height('#00bb00') / height('#aa0000')).toBeCloseTo(2, 2)
    expect(svg).toContain('>20.0<')
  })

  it('do not move a straight line by thinning and smoothing', () => {
    const line = Array.from({ length: 700 }, (_, i) => ({ x: i, y: 3 * i + 1 }))
    const thinned = thin(line, 100)
    expect(thinned).toHaveLength(100)
    for (const { x, y } of [...thinned, ...smooth(line)]) expect(y).toBeCloseTo(3 * x + 1, 6)
  })

  it('smooth short curves too, and their ends', () => {
    for (const count of [40, 76, 700]) {
      const noise = smooth(Array.from({ length: count }, (_, x) => ({ x, y: (-1) ** x })))
      expect(Math.max(...noise.map(({ y }) => Math.abs(y)))).toBeLessThan(0.3)
    }
    expect(smooth([{ x: 1, y: 2 }])).toEqual([{ x: 1, y: 2 }])
  })
})
