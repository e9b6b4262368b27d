/** The report of one run: an HTML file with curves, spectra, views and the configuration, made from the run's files. */
import { ownData, type PretrainConfig } from '../config/config.js'
import type { Summary } from '../run/folder.js'
import type { DiagnosticsLine, OnlineReadout, StepMetrics } from '../run/metrics.js'
import { html, Html, page, pngUrl } from './html.js'
import { describeLines, lineChart, type Series } from './plots.js'
import { counted, duration, formatCount, percent } from './text.js'

/** What the files of a run say. */
export interface RunFigures {
  /** The name of its folder. */
  name: string
  config: PretrainConfig
  metrics: readonly StepMetrics[]
  online: readonly OnlineReadout[]
  diagnostics: readonly DiagnosticsLine[]
  /** Absent before the run has stopped for the first time. */
  summary?: Summary
  /** A contact sheet of views, as PNG bytes. */
  views?: Uint8Array
}

const BLUE = '#3b82d6'
const ORANGE = '#e08214'
const COLORS = [BLUE, ORANGE, '#17864b', '#8b5cf6']
/** From the first spectrum to the last. */
const SPECTRA_COLORS = ['#b4bdc7', '#8fb3dd', '#6a9edb', BLUE, ORANGE]

const style = `
.warning { border-left: 4px solid ${ORANGE}; background: var(--card); padding: .5rem .8rem; margin: .8rem 0 }
.config { grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); column-gap: 2rem; font-variant-numeric: tabular-nums }
.config > div { display: flex; justify-content: space-between; gap: .8rem; border-bottom: 1px solid var(--line); overflow-wrap: anywhere }
`

/** @returns the text of an HTML file that loads nothing from outside; sections without figures are left out */
export async function runReport(run: RunFigures): Promise<string> {
  const { config } = run
  const body = html`<p class="soft">webgpu-ssl · ${run.name}${run.summary ? ` · ${day(run.summary.date)}` : ''}</p>
    <h1>
      ${config.arch.replace('resnet', 'ResNet-')} on ${dataOf(config)}: ${config.objective}, ${config.views} views
    </h1>
    <p class="lead">${findings(run)}</p>
    ${warnings(run)} ${await lossSection(run)} ${await readoutSection(run)} ${await spectrumSection(run)}
    ${run.views && viewsSection(run.views)} ${await speedSection(run)} ${configSection(run)}`
  return page({ title: `webgpu-ssl: ${run.name}`, style, body })
}

/** The name of the images: that of their folder, where they are a user's pictures. */
const dataOf = ({ data, dataDir }: PretrainConfig): string =>
  (ownData.has(data) && dataDir?.split(/[\\/]/).findLast((name) => name !== '')) || data

const ENDINGS = { done: 'The run is complete', signal: 'The run was stopped', time: 'The run reached its time limit' }

/** The state of the run and its latest figures, in two or three sentences. */
function findings({ metrics, online, diagnostics, summary }: RunFigures): string {
  const last = metrics.at(-1)
  if (!last) return 'No step has ended yet.'
  const state = summary && summary.steps >= last.step ? ENDINGS[summary.stopped] : 'The run has not ended'
  const knn = online.at(-1)
  const alpha = diagnostics.at(-1)?.alpha
  return [
    `${state}: ${formatCount(last.step)} of ${counted(last.steps, 'step')} in ${duration(last.seconds)} of training,`,
    `${lossSoFar(metrics)}.`,
    knn ? `Nearest neighbours (k = ${knn.k}) reach ${percent(knn.top1)} at step ${formatCount(knn.step)}.` : '',
    alpha === undefined ? '' : `The spectrum of the features falls with exponent α = ${alpha.toFixed(2)}.`,
  ]
    .filter(Boolean)
    .join(' ')
}

/** The losses that a mean is taken over: single losses vary with their images. */
const SHARE_OF_MEAN = 0.05
const LEAST_OF_MEAN = 10

/** How the loss has changed, by means over some steps. */
function lossSoFar(metrics: readonly StepMetrics[]): string {
  const losses = metrics.map(({ loss }) => loss).filter(Number.isFinite)
  if (losses.length === 0) return 'no finite loss'
  const count = Math.max(LEAST_OF_MEAN, Math.round(SHARE_OF_MEAN * losses.length))
  const mean = (values: readonly number[]): string => number(values.reduce((a, b) => a + b, 0) / values.length)
  if (losses.length < 2 * count) return `loss ${mean(losses)} (mean of all steps)`
  return `loss from ${mean(losses.slice(0, count))} to ${mean(losses.slice(-count))} (means of the first and the last ${count} steps)`
}

function warnings({ diagnostics, metrics }: RunFigures): Html[] {
  const latest = diagnostics.at(-1)
  const texts = [
    ...(latest?.warning ? [`Step ${formatCount(latest.step)}: ${latest.warning.replaceAll('`', '')}`] : []),
    ...(metrics.some(({ loss }) => !Number.isFinite(loss)) ? ['The loss became infinite or not a number.'] : []),
  ]
  return texts.map((text) => html`<p class="warning">${text}</p>`)
}

interface Point {
  x: number
  y: number
}

const points = <L>(lines: readonly L[], x: (line: L) => number, y: (line: L) => number | undefined | null): Point[] =>
  lines.flatMap((line) => {
    const value = y(line)
    return typeof value === 'number' && Number.isFinite(value) ? [{ x: x(line), y: value }] : []
  })

const step = ({ step }: { step: number }): number => step

async function figure(options: Parameters<typeof lineChart>[0]): Promise<Html | undefined> {
  const series = options.series.filter(({ points }) => points.length > 1)
  if (series.length === 0) return undefined
  return html`<figure>${new Html(await lineChart({ ...options, series }))}</figure>`
}

const section = (title: string, figures: readonly (Html | undefined)[], caption: string): Html | undefined =>
  figures.some(Boolean)
    ? html`<h2>${title}</h2>
        <div class="side">${figures}</div>
        <p class="soft">${caption}</p>`
    : undefined

async function lossSection({ metrics, config }: RunFigures): Promise<Html | undefined> {
  const [unit, seconds] = unitOf(metrics.at(-1)?.seconds ?? 0)
  const over = (x: string, at: (line: StepMetrics) => number) =>
    figure({
      series: [{ name: 'loss', color: BLUE, points: points(metrics, at, ({ loss }) => loss) }],
      ...{ x, y: 'loss', description: `Training loss over ${x}` },
    })
  const names = Object.keys(metrics.at(-1)?.parts ?? {})
  const parts: Series[] = names.map((name, i) => ({
    name,
    color: COLORS[i % COLORS.length],
    points: points(metrics, step, (line) => line.parts?.[name]),
  }))
  const lambda = config.adaptiveLambda
    ? await figure({
        series: [{ name: 'λ', color: ORANGE, points: points(metrics, step, ({ lambda }) => lambda) }],
        ...{ x: 'steps', y: 'λ', description: 'λ over steps', plain: metrics.length < 100 },
      })
    : undefined
  const partsChart = await figure({ series: parts, x: 'steps', y: 'part', description: 'Parts of the loss over steps' })
  return section(
    'Training loss',
    [await over('steps', step), await over(unit, (line) => line.seconds / seconds), partsChart, lambda],
    `${describeLines(metrics.length)}${partsChart ? ' The parts of the loss add up to it.' : ''}`,
  )
}

async function readoutSection({ metrics, online }: RunFigures): Promise<Html | undefined> {
  const accuracy = (name: string, color: string, of: Point[], plain: boolean) =>
    figure({
      series: [{ name, color, points: of.map(({ x, y }) => ({ x, y: 100 * y })) }],
      ...{ x: 'steps', y: `${name}, %`, description: `${name} over steps`, plain },
    })
  const knn = points(online, step, ({ top1 }) => top1)
  const probe = points(metrics, step, ({ probeTop1 }) => probeTop1)
  const last = online.at(-1)
  const read = last
    ? `Nearest neighbours: ${formatCount(last.queries)} test images among ${formatCount(last.bank)}, one clean view each.`
    : ''
  const title = last ? `Readouts: kNN-${last.k} top-1 ${percent(last.top1)}` : 'Readouts'
  const charts = [
    await accuracy('kNN top-1', BLUE, knn, true),
    await accuracy('probe on the batch', ORANGE, probe, false),
  ]
  const batch =
    probe.length > 1 ? ' The probe is read on training batches, so it does not compare with test images.' : ''
  return section(title, charts, `${read}${batch}`)
}

async function spectrumSection({ diagnostics }: RunFigures): Promise<Html | undefined> {
  if (diagnostics.length === 0) return undefined
  const shown = spread(diagnostics, SPECTRA_COLORS.length)
  const spectra = await figure({
    series: shown.map((line, i) => ({
      name: formatCount(line.step),
      color: SPECTRA_COLORS[SPECTRA_COLORS.length - shown.length + i],
      points: line.eigenvalues.map((y, rank) => ({ x: rank + 1, y })).filter(({ y }) => y > 0),
    })),
    ...{ x: 'rank', y: 'eigenvalue', description: 'Eigenvalues of the features', logarithmic: true, plain: true },
  })
  const curve = (y: string, of: (line: DiagnosticsLine) => number | undefined) =>
    figure({
      series: [{ name: y, color: BLUE, points: points(diagnostics, step, of) }],
      ...{ x: 'steps', y, description: `${y} over steps`, plain: true },
    })
  const charts = [
    spectra,
    await curve('exponent α', ({ alpha }) => alpha),
    await curve('effective rank', ({ effectiveRank }) => effectiveRank),
  ]
  const last = diagnostics[diagnostics.length - 1]
  return html`${section('Spectrum of the features', charts, `From ${formatCount(last.images)} images with one clean view each. The colours of the spectra are steps.`)}
    <div class="table">
      <table>
        <tr>
          <th class="n">step</th>
          <th class="n">α</th>
          <th class="n">effective rank</th>
          <th class="n">alignment</th>
          <th class="n">uniformity</th>
        </tr>
        ${spread(diagnostics, 12).map(
          (line) =>
            html`<tr>
              <td class="n">${formatCount(line.step)}</td>
              <td class="n">${line.alpha?.toFixed(3) ?? '–'}</td>
              <td class="n">${line.effectiveRank.toFixed(1)}</td>
              <td class="n">${line.alignment.toFixed(4)}</td>
              <td class="n">${line.uniformity.toFixed(3)}</td>
            </tr>`,
        )}
      </table>
    </div>`
}

const viewsSection = (png: Uint8Array): Html =>
  html`<h2>The views</h2>
    <p class="soft">Each row shows a training image and then views of it, as the latest epoch drew them.</p>
    <div class="sheet"><img src="${pngUrl(png)}" alt="Training images, each followed by views of it" /></div>`

async function speedSection({ metrics, summary }: RunFigures): Promise<Html | undefined> {
  // The first step of a call includes work that comes once.
  const series = [{ name: 'images/s', color: BLUE, points: points(metrics.slice(1), step, (m) => m.imagesPerSecond) }]
  const chart = await figure({ series, x: 'steps', y: 'images/s', description: 'Images per second over steps' })
  const text = summary
    ? `${number(summary.imagesPerSecond)} images/s on ${summary.adapter}; ${duration(summary.secondsToFirstStep)} to the first step; ${(summary.peakBytes / 2 ** 20).toFixed(0)} MiB in addition to the weights.`
    : ''
  return section('Speed', [chart], text)
}

function configSection({ config }: RunFigures): Html {
  const rows = flattened(config).map(
    ([name, value]) =>
      html`<div>
        <dt>${name}</dt>
        <dd>${value}</dd>
      </div>`,
  )
  return html`<h2>Configuration</h2>
    <dl class="config">${rows}</dl>`
}

/** Fields by their path, such as `augmentation.size`. */
function flattened(value: object, prefix = ''): [string, string][] {
  return Object.entries(value).flatMap(([name, field]): [string, string][] =>
    typeof field === 'object' && field !== null && !Array.isArray(field)
      ? flattened(field as object, `${prefix}${name}.`)
      : [[prefix + name, Array.isArray(field) ? JSON.stringify(field, rounded) : String(field)]],
  )
}

/** For JSON: no number has more than four digits. */
const rounded = (_key: string, value: unknown): unknown =>
  typeof value === 'number' ? Number(value.toPrecision(4)) : value

/** At most `most` of the items, evenly spread, the first and the last among them. */
function spread<T>(items: readonly T[], most: number): T[] {
  if (items.length <= most) return [...items]
  return Array.from({ length: most }, (_, i) => items[Math.round((i * (items.length - 1)) / (most - 1))])
}

/** The unit of a time axis, and its seconds. */
const unitOf = (seconds: number): [string, number] =>
  seconds < 180 ? ['seconds', 1] : seconds < 3 * 3600 ? ['minutes', 60] : ['hours', 3600]

/** Four significant digits, without an exponent where that is short. */
const number = (value: number): string => String(Number(value.toPrecision(4)))

/** `2026-01-31 17:05 UTC` */
const day = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`
