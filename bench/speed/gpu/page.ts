/** The results of `bench gpu` as one HTML page. Every section stands alone: what was not measured is not shown. */
import type { TraceEvent } from '../../../engine/profiling.js'
import { html, Html, page } from '../../../train/report/html.js'
import { chart } from '../../../train/report/plots.js'
import { counted } from '../../../train/report/text.js'
import { lines } from '../../report/charts.js'
import { describeOrigin, type Origin } from '../../report/origin.js'
import { figure, medianText, mebibytes } from '../../report/text.js'
import type { Ceilings } from '../ceilings.js'
import type { KernelResult } from '../kernels.js'
import type { CaseResult } from '../peers/contest.js'
import type { StepResult } from '../step.js'
import { bubblesOf, largestSteps, sharesOf, timeToWin, type Shares } from './findings.js'
import type { GpuResults, StageRecord } from './gpu.js'
import { disagreements, type SmokeResults } from './smoke.js'

/** Results of the engine's tests so far. */
export interface TestResults {
  passed: number
  skipped: number
  failed: { test: string; message: string }[]
  /** Whether all tests have run. */
  whole: boolean
}

interface KernelsFile {
  origin: Origin
  ceilings: Ceilings
  kernels: KernelResult[]
}
interface Pretraining {
  precision: string
  steps: {
    step: number
    loss: number
    imagesPerSecond: number
    seconds: number
    skipped?: number
    peakBytes?: number
  }[]
}

const style = `
.state { display: inline-block; border-radius: 4px; padding: .05rem .5rem; font-size: .9rem; border: 1px solid var(--line); white-space: nowrap }
.done { color: var(--good); border-color: var(--good) }
.failed, .out-of-time, .wrong { color: #c8412f; border-color: #c8412f }
.left-out, .waiting { color: var(--soft) }
.alarm { border: 2px solid #c8412f; border-radius: 6px; padding: .6rem .9rem }
.wide { max-width: none }
th[scope=row] { font-weight: 600; min-width: 13rem }
.stages th[scope=row] { min-width: 9rem }
td.line { font-size: .85rem; color: var(--soft); overflow-wrap: anywhere; min-width: 16rem }
.bar { display: inline-block; height: .7em; background: var(--link); border-radius: 2px; margin-left: .4rem; vertical-align: baseline }
.track { display: inline-block; width: 5rem; text-align: left }
`

type Cell = string | Html

const table = (header: string[], rows: Cell[][], caption?: string): Html =>
  html`<div class="table">
    <table>
      ${
        caption
          ? html`<caption>
              ${caption}
            </caption>`
          : undefined
      }
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

/** A share in per cent, with a bar. */
const share = (value: number | undefined): Cell =>
  value === undefined || !Number.isFinite(value)
    ? ''
    : html`${(100 * value).toFixed(0)}&nbsp;%<span class="track"
          ><span class="bar" style="width:${Math.min(100, 100 * value).toFixed(0)}%"></span
        ></span>`

const shareCells = ({ fma, matrix, memory }: Shares): Cell[] => [share(fma), share(matrix), share(memory)]

/** @returns the text of an HTML file that loads nothing else */
export async function gpuPage(results: GpuResults): Promise<string> {
  const of = <T>(name: string): T | undefined => results.stages.find((stage) => stage.name === name)?.results as T
  const [kernels, tuned] = [of<KernelsFile>('kernels'), of<KernelsFile>('tuned kernels')]
  const steps = of<{ steps: StepResult[] }>('step')?.steps ?? []
  const ceilings = (kernels ?? tuned)?.ceilings
  const origin = kernels?.origin ?? of<{ origin: Origin }>('smoke')?.origin
  const runs = (['f32', 'f16'] as const).flatMap((precision) => of<Pretraining>(`pretraining ${precision}`) ?? [])
  const body = html`<p class="soft">webgpu-ssl · the first minutes on a GPU</p>
    <h1>${origin?.adapter ?? 'No adapter was measured'}</h1>
    <p class="soft">${origin ? describeOrigin(origin) : results.date}</p>
    ${results.stopped ? html`<p class="alarm"><strong>Stopped.</strong> ${results.stopped}.</p>` : undefined}
    ${stagesTable(results.stages)} ${smokeSection(of('smoke'))} ${testsSection(of('engine tests'))}
    ${winSection(steps, ceilings)} ${stepSection(steps, ceilings)} ${bubblesSection(of('trace'), steps)}
    ${kernelsSection(kernels, tuned)} ${peersSection(of('peers'))} ${await pretrainingSection(runs)}`
  return page({ title: 'webgpu-ssl: the first minutes on a GPU', style, body })
}

const stagesTable = (stages: readonly StageRecord[]): Html =>
  html`<div class="table stages">
    <table>
      <tr>
        <th>stage</th>
        <th>what</th>
        <th>state</th>
        <th class="n">s / limit</th>
        <th>last line</th>
      </tr>
      ${stages.map(
        ({ name, part, says, state, seconds, limit, line }) =>
          html`<tr>
            <th scope="row">${part} · ${name}</th>
            <td>${says}</td>
            <td><span class="state ${state.replaceAll(' ', '-')}">${state}</span></td>
            <td class="n">${seconds === undefined ? '' : `${seconds.toFixed(0)} / ${limit}`}</td>
            <td class="line">${line ?? ''}</td>
          </tr>`,
      )}
    </table>
  </div>`

function smokeSection(smoke: SmokeResults | undefined): Html | undefined {
  if (!smoke) return undefined
  const { pipelines, products, comparisons } = smoke
  const wrong = disagreements(smoke)
  const refused = comparisons.filter((one) => one.refused !== undefined)
  const worst = [...comparisons].sort((a, b) => (b.error ?? 0) - (a.error ?? 0)).slice(0, 5)
  const errorText = (error: number | null): string => (error === null ? 'not finite' : figure(error))
  return html`<h2>Smoke</h2>
    <p>
      ${pipelines.built} of ${counted(pipelines.of, 'pipeline')} built. ${products.done} of
      ${counted(products.of, 'product')} compared on hashed numbers, in ${counted(comparisons.length, 'variant')}:
      <span class="state ${wrong.length ? 'wrong' : 'done'}">${counted(wrong.length, 'disagreement')}</span>
    </p>
    ${table(
      ['product', 'variant', 'error'],
      [...wrong, ...worst.filter((one) => !wrong.includes(one))].map((one) => [
        one.product,
        one.variant,
        errorText(one.error),
      ]),
      'All that disagree with the plain variant, then the largest errors of the others: max |a − b| / max |b|.',
    )}
    ${[
      ...pipelines.refused.map(({ kernel, reason }) => `${kernel}: ${reason}`),
      ...refused.map(({ product, variant, refused: reason }) => `${variant} of ${product}: ${reason}`),
    ].map((line) => html`<p class="soft wide">Refused: ${line}</p>`)}`
}

const testsSection = (tests: TestResults | undefined): Html | undefined =>
  tests &&
  html`<h2>Engine tests</h2>
    <p>
      ${counted(tests.passed, 'test')} passed, ${tests.skipped} skipped,
      <span class="state ${tests.failed.length ? 'wrong' : 'done'}">${tests.failed.length} failed</span>
      ${tests.whole ? '' : '; the others did not run in time'}.
    </p>
    ${tests.failed.map(({ test, message }) => html`<p class="soft wide"><strong>${test}</strong>: ${message}</p>`)}`

function winSection(steps: readonly StepResult[], ceilings: Ceilings | undefined): Html | undefined {
  if (!ceilings || !steps.length) return undefined
  return html`<h2>The ten kernels with the most time to win</h2>
    <p>Milliseconds of a step that a kernel would save if it reached its nearest ceiling.</p>
    ${largestSteps(steps).map((step) =>
      table(
        ['kernel', 'to win, ms', 'ms', 'dispatches', 'of FMA', 'of matrices', 'of memory'],
        timeToWin(step, ceilings).map((one) => [
          html`${one.op} (${one.kernel})<br /><span class="soft">${one.constants}</span>`,
          figure(one.win),
          figure(one.milliseconds),
          String(one.dispatches),
          ...shareCells(one.shares),
        ]),
        `${step.name}: ${figure(step.deviceMilliseconds)} ms on the device.`,
      ),
    )}`
}

function stepSection(steps: readonly StepResult[], ceilings: Ceilings | undefined): Html | undefined {
  if (!steps.length) return undefined
  const rows = steps.map((step) => {
    const whole = 1000 * step.seconds.median
    return [
      step.name,
      medianText(step.seconds, 1000),
      figure(step.imagesPerSecond),
      figure(step.deviceMilliseconds),
      `${(100 * (1 - step.deviceMilliseconds / whole)).toFixed(0)} %`,
      figure(step.hostMilliseconds.median),
      String(step.dispatches),
      mebibytes(step.peakBytes),
    ]
  })
  return html`<h2>Steps</h2>
    ${table(
      ['step', 'ms [quartiles]', 'images/s', 'device ms', 'between dispatches', 'host ms', 'dispatches', 'memory'],
      rows,
      'Device ms is the sum over the dispatches, each timed in a pass of its own. Between dispatches is the rest of the step.',
    )}
    ${
      ceilings &&
      largestSteps(steps).map((step) =>
        table(
          ['kernel', 'ms', 'share', 'dispatches', 'of FMA', 'of matrices', 'of memory'],
          step.kernels.map((one) => [
            one.kernel,
            figure(one.milliseconds),
            `${((100 * one.milliseconds) / step.deviceMilliseconds).toFixed(1)} %`,
            String(one.dispatches),
            ...shareCells(sharesOf(one, ceilings)),
          ]),
          step.name,
        ),
      )
    }`
}

function bubblesSection(
  trace: { traceEvents: TraceEvent[] } | undefined,
  steps: readonly StepResult[],
): Html | undefined {
  const bubbles = trace && bubblesOf(trace.traceEvents)
  if (!bubbles) return undefined
  const { span, idle, dispatches, longest } = bubbles
  return html`<h2>Bubbles between dispatches</h2>
    <p>
      The traced step has ${dispatches} dispatches in ${figure(span / 1000)} ms, of which ${figure(idle / 1000)} ms
      (${((100 * idle) / span).toFixed(1)} %) lie between two of them, ${figure(idle / dispatches)} µs each. There every
      dispatch has a pass of its own;
      ${steps.length ? 'the table of steps says what is left where they share one.' : 'in a real step they share one.'}
    </p>
    ${table(
      ['between', 'and', 'µs'],
      longest.map(({ before, after, wait }) => [before, after, figure(wait)]),
      'The longest ones.',
    )}`
}

function kernelsSection(plain: KernelsFile | undefined, tuned: KernelsFile | undefined): Html | undefined {
  const shown = plain ?? tuned
  if (!shown) return undefined
  const { f32, f16, subgroupMatrix, copy } = shown.ceilings
  const keyOf = ({ family, name }: KernelResult): string => `${family} ${name}`
  const again = new Map(tuned && plain ? tuned.kernels.map((one) => [keyOf(one), one]) : [])
  return html`<h2>Kernels against the ceilings</h2>
    <dl>
      <dt>FMA, f32</dt>
      <dd>${figure(f32)} GFLOP/s</dd>
      ${
        f16
          ? html`<dt>FMA, f16</dt>
              <dd>${figure(f16)} GFLOP/s</dd>`
          : undefined
      }
      ${
        subgroupMatrix
          ? html`<dt>matrices</dt>
              <dd>${figure(subgroupMatrix)} GFLOP/s</dd>`
          : undefined
      }
      <dt>copy</dt>
      <dd>${figure(copy)} GB/s</dd>
    </dl>
    ${table(
      ['kernel', 'ms', 'GFLOP/s', 'of FMA', 'GB/s', 'of memory', 'dispatches', 'tuned, ms', 'gain'],
      shown.kernels.map((one) => {
        const after = again.get(keyOf(one))
        return [
          keyOf(one),
          figure(one.milliseconds),
          one.gflops ? figure(one.gflops) : '',
          share(one.gflops && one.gflops / f32),
          figure(one.gbs),
          share(one.gbs / copy),
          String(one.dispatches),
          after ? figure(after.milliseconds) : '',
          after ? `${figure(one.milliseconds / after.milliseconds)}×` : '',
        ]
      }),
      'GFLOP/s count the operations of the direct algorithm, so Winograd can exceed the ceiling.',
    )}`
}

function peersSection(peers: { cases: CaseResult[]; absent: Record<string, string> } | undefined): Html | undefined {
  if (!peers) return undefined
  const names = [...new Set(peers.cases.flatMap(({ entries }) => entries.slice(1).map(({ peer }) => peer)))]
  return html`<h2>Peers</h2>
    ${Object.entries(peers.absent).map(([name, reason]) => html`<p class="soft">${name} is not measured: ${reason}.</p>`)}
    ${table(
      ['case', 'ours, ms', ...names.flatMap((name) => [`${name}, ms`, `${name} / ours`])],
      peers.cases.map(({ name, entries }) => [
        name,
        entries[0].summary ? medianText(entries[0].summary, 1000) : '',
        ...names.flatMap((peer) => {
          const entry = entries.find((one) => one.peer === peer)
          if (!entry?.summary) return [entry?.cannot ? `cannot: ${entry.cannot}` : '', '']
          return [medianText(entry.summary, 1000), entry.ratio ? `${figure(entry.ratio.median)}×` : '']
        }),
      ]),
      'Medians [quartiles]. × is how many times longer the peer takes.',
    )}`
}

async function pretrainingSection(runs: readonly Pretraining[]): Promise<Html | undefined> {
  const some = runs.filter(({ steps }) => steps.length)
  if (!some.length) return undefined
  const series = some.map(({ precision, steps }) => ({
    name: precision,
    points: steps.map(({ step, loss }) => ({ x: step, y: loss })),
  }))
  const spec = lines(series, { x: { title: 'step' }, y: { title: 'loss' }, markers: false })
  return html`<h2>Pretraining</h2>
    <figure>${new Html(await chart(spec, 'Loss by step, in f32 and in f16'))}</figure>
    ${table(
      ['precision', 'steps', 'last loss', 'images/s', 'skipped', 'memory beside the network'],
      some.map(({ precision, steps }) => {
        const last = steps[steps.length - 1]
        return [
          precision,
          String(steps.length),
          figure(last.loss),
          figure(last.imagesPerSecond),
          String(last.skipped ?? ''),
          last.peakBytes ? mebibytes(last.peakBytes) : '',
        ]
      }),
    )}`
}
