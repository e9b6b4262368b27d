/** The paper's experiments as one HTML page. */
import { html, Html, page } from '../../train/report/html.js'
import { chart } from '../../train/report/plots.js'
import { boundText, intervalText } from './claims.js'
import type { Result, Table } from './experiment.js'
import { figuresTable, resultOrigin } from './results.js'
import { protocolOf } from './scales.js'

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

/** @param kind `texts` if the cells are sentences rather than numbers */
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

const badge = (verdict: string): Html => html`<span class="verdict ${verdict}">${verdict}</span>`

const claimsTable = ({ claims, seeds }: Result): Html =>
  html`<div class="table">
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
            <td class="n">${intervalText(c, seeds)}</td>
            <td class="n">${badge(c.verdict)}</td>
          </tr>`,
      )}
    </table>
  </div>`

async function section(result: Result): Promise<Html> {
  const { title, claim, protocol, table, figures, plots, notes, failures, verdict } = result
  const charts = await Promise.all(
    plots.map(async ({ spec, title: caption }) => ({ caption, svg: await chart(spec, caption) })),
  )
  return html`<h2 id="${result.experiment}">${title} ${badge(verdict)}</h2>
    <p>${claim}</p>
    ${claimsTable(result)}
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
    <p class="soft">${resultOrigin(result)}.</p>`
}

/** @returns the text of an HTML file that loads nothing else */
export async function paperPage(results: readonly Result[]): Promise<string> {
  const summaries = new Set(
    results.map(({ scale, dataset }) => `Scale ${scale}: ${protocolOf({ scale, dataset }).summary}.`),
  )
  const sections: Html[] = []
  for (const result of results) sections.push(await section(result))
  const body = html`<p class="soft">webgpu-ssl · the paper’s experiments</p>
    <h1>Small projectors and many views: the paper’s claims, tested here</h1>
    <p>
      Each experiment states its runs, seeds and statistics in a source file before it is run. A verdict comes from a 95
      % interval over seeds (Student’s t, paired). <em>Agrees</em>: the whole interval lies where the paper expects it.
      <em>Contradicts</em>: no part of it does. <em>Inconclusive</em>: everything else.
    </p>
    ${[...summaries].map((line) => html`<p class="soft">${line}</p>`)}
    ${tableOf({
      header: ['experiment', 'scale', 'verdict'],
      rows: results.map(({ title, scale, verdict }) => [title, scale, verdict]),
    })}
    ${sections}`
  return page({ title: 'webgpu-ssl: the paper’s experiments', style, body })
}
