/** The paper's experiments as one page: rebuilt from every result that lies in a folder. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { readJson, writeAtomically } from '../../train/node/files.js'
import { html, Html, page } from '../../train/report/html.js'
import { chart } from '../../train/report/plots.js'
import { standAlone } from '../runs/charts.js'
import { figure } from '../speed/report.js'
import { seedList, seedsWithout, type JudgedClaim, type Result, type Table } from './experiment.js'
import { protocolOf } from './scales.js'
import type { Bound } from '../runs/intervals.js'

const style = `
.verdict { display: inline-block; border-radius: 4px; padding: .05rem .5rem; font-size: .9rem; border: 1px solid var(--line) }
.agrees { color: var(--good); border-color: var(--good) }
.contradicts { color: #c8412f; border-color: #c8412f }
.inconclusive { color: var(--soft) }
.texts th[scope=row] { min-width: 13rem }
.texts td.n, .texts th.n { white-space: normal }
.texts td:nth-child(2), .texts td:nth-child(4) { min-width: 6.5rem }
.texts td:last-child, .texts th:last-child { text-align: left; min-width: 15rem }
`

export const boundText = (bound: Bound): string =>
  'above' in bound ? `above ${bound.above}` : 'below' in bound ? `below ${bound.below}` : `within ±${bound.within}`

/**
 * `+2.30 [1.80, 2.80] points (3 seeds)`, naming the seeds that have no value; of a single one there is no interval.
 *
 * @param seeds those that were asked for
 */
export function intervalText(claim: JudgedClaim, seeds: readonly number[]): string {
  const { mean, low, high } = claim.interval
  const without = seedsWithout(claim, seeds)
  const count = seeds.length - without.length
  const whose = without.length
    ? `${count} of ${seeds.length} seeds; none of ${seedList(without)}`
    : count === 1
      ? 'one seed'
      : `${count} seeds`
  if (count === 0) return `– (${whose})`
  const range = Number.isFinite(low) ? ` [${signed(low)}, ${signed(high)}]` : ''
  const unit = claim.unit && ` ${claim.unit}`
  // What must be below a bound is a size; the others are differences.
  const plus = 'below' in claim.bound || mean < 0 ? '' : '+'
  return `${plus}${signed(mean)}${range}${unit} (${whose}${range ? '' : ': no interval'})`
}

const signed = (value: number): string => `${value < 0 ? '−' : ''}${figure(Math.abs(value))}`

/** JSON has no infinite numbers: an open interval comes back as nulls. Older files do not name their data set. */
function revived(result: Result): Result {
  const open = (value: number | null, otherwise: number): number => value ?? otherwise
  return {
    ...result,
    dataset: result.dataset ?? 'cifar10',
    claims: result.claims.map((claim) => {
      const { mean, low, high } = claim.interval
      return {
        ...claim,
        perSeed: claim.perSeed.map((v) => open(v, NaN)),
        interval: { mean: open(mean, NaN), low: open(low, -Infinity), high: open(high, Infinity) },
      }
    }),
  }
}

/** Every result in the folder, in the order of `names`. */
export async function readResults(folder: string, names: readonly string[]): Promise<Result[]> {
  const present = new Set(await readdir(folder))
  const results: Result[] = []
  for (const name of names)
    if (present.has(`${name}.json`)) results.push(revived((await readJson(join(folder, `${name}.json`))) as Result))
  return results
}

/** Writes a result's JSON and its pictures; the paths written. */
export async function writeResult(folder: string, result: Result): Promise<string[]> {
  const json = join(folder, `${result.experiment}.json`)
  await writeAtomically(json, `${JSON.stringify(result, null, 1)}\n`)
  const written = [json]
  for (const { name, title, spec } of result.plots) {
    const path = join(folder, `${result.experiment}-${name}.svg`)
    await writeAtomically(path, await standAlone(spec, title, originOf(result)))
    written.push(path)
  }
  return written
}

const originOf = ({ scale, dataset, seeds, adapter, date }: Result): string =>
  `scale ${scale}${dataset === 'cifar10' ? '' : ` on ${dataset}`}, ${seeds.length} seed${seeds.length > 1 ? 's' : ''}; ${adapter}; ${date.slice(0, 10)}`

/** @param kind `texts` where cells are sentences rather than numbers */
const tableOf = ({ header, rows }: Table, kind = ''): Html =>
  html`<div class="table ${kind}">
    <table>
      <tr>
        ${header.map((cell, i) => (i ? html`<th class="n">${cell}</th>` : html`<th>${cell}</th>`))}
      </tr>
      ${rows.map(
        (row) =>
          html`<tr>
            ${row.map((cell, i) => (i ? html`<td class="n">${cell}</td>` : html`<th scope="row">${cell}</th>`))}
          </tr>`,
      )}
    </table>
  </div>`

/** Figures beside ours, with the views that each was read with and what keeps them from comparing. */
export function figuresTable({ figures }: Pick<Result, 'figures'>): Table {
  const compares = (differs: string[] | undefined): string =>
    differs === undefined ? '–' : differs.length ? `not comparable: ${differs.join('; ')}` : 'yes'
  return {
    header: ['beside the paper', 'paper', 'views read', 'here', 'views read', 'comparable'],
    rows: figures.map(({ what, paper, paperViews = '–', ours, ourViews = '–', differs }) => [
      what,
      paper,
      String(paperViews),
      ours,
      String(ourViews),
      compares(differs),
    ]),
  }
}

const badge = (verdict: string): Html => html`<span class="verdict ${verdict}">${verdict}</span>`

async function section(result: Result): Promise<Html> {
  const { title, claim, protocol, claims, table, figures, plots, notes, failures, verdict } = result
  const charts = await Promise.all(
    plots.map(async ({ spec, title: caption }) => ({ caption, svg: await chart(spec, caption) })),
  )
  return html`<h2 id="${result.experiment}">${title} ${badge(verdict)}</h2>
    <p>${claim}</p>
    <div class="table">
      <table>
        <tr>
          <th>statistic</th>
          <th class="n">the paper is right if</th>
          <th class="n">ours, 95 % interval</th>
          <th class="n">verdict</th>
        </tr>
        ${claims.map(
          (c) =>
            html`<tr>
              <th scope="row">${c.statement}</th>
              <td class="n">${boundText(c.bound)}</td>
              <td class="n">${intervalText(c, result.seeds)}</td>
              <td class="n">${badge(c.verdict)}</td>
            </tr>`,
        )}
      </table>
    </div>
    <div class="side">
      ${charts.map(
        ({ caption, svg }) =>
          html`<figure>
            ${new Html(svg)}
            <figcaption>${caption}</figcaption>
          </figure>`,
      )}
    </div>
    ${tableOf(table)} ${figures.length ? tableOf(figuresTable(result), 'texts') : undefined}
    <p class="soft">${protocol}</p>
    ${[...notes, ...failures.map((line) => `Failed: ${line}`)].map((note) => html`<p class="soft">${note}</p>`)}
    <p class="soft">${originOf(result)}.</p>`
}

/** @returns the text of an HTML file that asks for nothing outside itself */
export async function paperReport(results: readonly Result[]): Promise<string> {
  const used = new Set(
    results.map(({ scale, dataset }) => `Scale ${scale}: ${protocolOf({ scale, dataset }).summary}.`),
  )
  const sections: Html[] = []
  for (const result of results) sections.push(await section(result))
  const body = html`<p class="soft">webgpu-ssl · the paper’s experiments</p>
    <h1>Small projectors and many views: the paper’s claims, tried here</h1>
    <p>
      Each experiment states its runs, its seeds and its statistics in a file of its own before anything is run. A
      verdict comes from a 95 % interval over seeds (Student’s t, paired): <em>agrees</em> where the whole interval lies
      where the paper says, <em>contradicts</em> where none of it does, <em>inconclusive</em> otherwise.
    </p>
    ${[...used].map((line) => html`<p class="soft">${line}</p>`)}
    ${tableOf({
      header: ['experiment', 'scale', 'verdict'],
      rows: results.map(({ title, scale, verdict }) => [title, scale, verdict]),
    })}
    ${sections}`
  return page({ title: 'webgpu-ssl: the paper’s experiments', style, body })
}
