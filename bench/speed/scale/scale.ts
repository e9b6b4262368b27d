/** `bench scale`: several ranks, measured on this machine and planned for many GPUs. */
import { availableParallelism } from 'node:os'
import { markdownTable, percent } from '../../../train/report/text.js'
import { lines, type ChartSeries } from '../../report/charts.js'
import { median } from '../../report/statistics.js'
import { figure, mebibytes } from '../../report/text.js'
import type { Measurement } from '../measurement.js'
import type { Origin } from '../../report/origin.js'
import { originPlot } from '../plot.js'
import { nameOf, workload, type Workload } from '../workload.js'
import { measureRanks, missingFor, PLACES, type Measured } from './measure.js'
import { allReduceSeconds, fitLink, stepTime, type Link, type Reduction } from './model.js'
import { GPU_FLOPS, planScaling, PLANNED_RANKS, plannedLinks, plannedSteps, stepShape, type Planned } from './plan.js'

/** A plot shows plans that lose at least this share somewhere. */
const LOST = 0.98
const MIB = 2 ** 20
/**
 * From half a bucket of gradients to four at once: what the model is for. Every second size is left out of the fit, and
 * predicted by it.
 */
const MODELLED = [2, 3, 4, 6, 8, 12, 16].map((mib) => mib * MIB)
/**
 * Measured and shown, but not modelled: below, MPI chooses other algorithms and the caches hold the bytes; above, they
 * exceed the caches.
 */
const OUTSIDE = [1 / 64, 1 / 16, 1 / 4, 1, 44].map((mib) => mib * MIB)
/** Assumed of links that cannot be measured here, where the cable with a limit was not measured. */
const USUAL_EFFICIENCY = 0.9

export interface ScaleOptions {
  origin: Origin
  rounds: number
  quick: boolean
  adapter?: string
  onMessage(line: string): void
}

interface FitPoint extends Reduction {
  readonly predicted: number
  readonly role: 'fitted' | 'left out' | 'outside'
}

/** The all-reduces of a place: the link that a part of them gives, and how well it predicts the others. */
export interface Fitted {
  readonly place: string
  readonly link: Link
  readonly points: readonly FitPoint[]
  /** The largest relative error of those left out, and of those outside of what is modelled. */
  readonly worst: number
  readonly worstOutside: number
}

export async function benchScale({ origin, rounds, quick, adapter, onMessage }: ScaleOptions): Promise<Measurement> {
  const own = workload({ width: quick ? 16 : 32, batch: 4 })
  const settings = {
    ...{ workload: own, rounds, stepsPerRound: 2, adapter },
    bytes: quick ? MODELLED.slice(0, 3) : [...MODELLED, ...OUTSIDE].sort((a, b) => a - b),
  }
  const counts = [1, 2, 4].filter((count) => count <= availableParallelism() || count <= 2)
  const measured: Measured[] = []
  const notes: string[] = []
  for (const place of PLACES)
    for (const ranks of counts) {
      if ((ranks !== 2 && place.rate !== undefined) || (quick && place.rate === '')) continue
      const missing = ranks === 1 ? undefined : missingFor(place)
      if (missing) {
        notes.push(`${place.name}: not measured, because ${missing}.`)
        continue
      }
      measured.push(measureRanks(place, ranks, settings))
      onMessage(`${place.name}, ${ranks} ranks: ${figure(1 / median(measured.at(-1)!.steps))} steps/s`)
    }
  const fits = PLACES.flatMap(({ name }) => {
    const here = measured.filter(({ place, ranks }) => place.name === name && ranks > 1)
    return here.length ? [fitted(name, here)] : []
  })
  const limited = fits.find(({ place }) => PLACES.some(({ name, speed }) => name === place && speed !== undefined))
  const speed = PLACES.find(({ name }) => name === limited?.place)?.speed
  const efficiency = limited && speed ? Math.min(1, 1 / speed / limited.link.beta) : USUAL_EFFICIENCY
  const planned = planScaling(
    plannedSteps.map((step) => ({ step, shape: stepShape(step) })),
    plannedLinks(efficiency),
  )
  return {
    kind: 'scale',
    origin,
    results: { workload: own, measured, fits, efficiency, planned, notes },
    markdown: [
      measuredMarkdown(own, measured, fits),
      fitMarkdown(fits),
      plannedMarkdown(planned, efficiency, limited !== undefined),
      ...notes,
    ].join('\n\n'),
    plots: {
      reduce: await originPlot(reducePlot(fits), 'All-reduce of two ranks: measured, and the model', origin),
      plan: await originPlot(planPlot(planned), 'Planned: efficiency by number of GPUs', origin),
    },
  }
}

function fitted(place: string, measured: readonly Measured[]): Fitted {
  const all = measured.flatMap(({ ranks, reductions }) => reductions.map((one) => ({ ranks, ...one })))
  const roleOf = ({ bytes }: Reduction): FitPoint['role'] =>
    !MODELLED.includes(bytes) ? 'outside' : MODELLED.indexOf(bytes) % 2 === 0 ? 'fitted' : 'left out'
  const link = fitLink(
    'ring',
    all.filter((one) => roleOf(one) === 'fitted'),
  )
  const points = all.map((one) => ({
    ...one,
    predicted: allReduceSeconds('ring', link, one.ranks, one.bytes),
    role: roleOf(one),
  }))
  const worst = (of: FitPoint['role']): number =>
    Math.max(
      0,
      ...points.filter(({ role }) => role === of).map(({ predicted, seconds }) => Math.abs(predicted / seconds - 1)),
    )
  return { place, link, points, worst: worst('left out'), worstOutside: worst('outside') }
}

function measuredMarkdown(own: Workload, measured: readonly Measured[], fits: readonly Fitted[]): string {
  const shape = stepShape(own)
  const one = measured.find(({ ranks }) => ranks === 1)!
  const rows = measured.map((result) => {
    const { place, ranks, steps, stepsAlone, exchangeSeconds, exchangeBytes, exchanges, hidden } = result
    const fit = fits.find((f) => f.place === place.name)
    const modelled =
      ranks > 1 && fit
        ? stepTime(median(stepsAlone), shape.departures, (bytes) => allReduceSeconds('ring', fit.link, ranks, bytes))
        : undefined
    return [
      place.name,
      String(ranks),
      figure(1 / median(steps)),
      figure(1000 * median(steps)),
      ranks > 1 ? `${mebibytes(exchangeBytes)} in ${exchanges}` : '–',
      ranks > 1 ? figure(1000 * exchangeSeconds) : '–',
      ranks > 1 ? percent(hidden, 0) : '–',
      modelled ? `${figure(median(steps) / modelled.seconds)}×` : '–',
      `${figure((ranks * median(one.steps)) / median(steps))}×`,
    ]
  })
  return [
    '## Several ranks on this machine',
    `Each rank: ${nameOf(own)}. The ranks share this machine's processor, so images/s cannot grow as they do where each rank has a GPU.`,
    markdownTable(
      [
        'where',
        'ranks',
        'steps/s',
        'ms a step',
        'exchanged',
        'ms of exchanges',
        'hidden',
        'to the model',
        'images/s to one rank',
      ],
      rows,
    ),
    '"Hidden": the share of the exchanges\' time before the last bucket of gradients departs, which is the end of the backward ' +
      'pass. "To the model": the step\'s time relative to the model\'s, from steps whose exchanges take no time, measured in turn, ' +
      'and the fitted link.',
  ].join('\n\n')
}

function fitMarkdown(fits: readonly Fitted[]): string {
  if (fits.length === 0) return ''
  const rows = fits.map(({ place, link: { alpha, beta }, worst, worstOutside, points }) => [
    place,
    figure(1e6 * alpha),
    figure(1e-9 / beta),
    ...[4 * MIB, 16 * MIB].map((size) => {
      const found = points.find(({ bytes }) => bytes === size)
      return found ? figure(1000 * found.seconds) : '–'
    }),
    percent(worst, 0),
    worstOutside ? percent(worstOutside, 0) : '–',
  ])
  return [
    '## All-reduce and its model',
    'In buckets of 4 MiB that are exchanged at once; the fastest of up to 300 repeats, for which the sizes take turns. α and β come from 2, 4, 8 and 16 MiB. ' +
      '"Left out": the largest error of the sizes between, 3, 6 and 12 MiB. "Outside": that of 16 KiB to 1 MiB, where MPI ' +
      'chooses other algorithms and the caches hold the bytes, and of 44 MiB; the model is not for them.',
    markdownTable(['where', 'α, µs', '1/β, GB/s', '4 MiB, ms', '16 MiB, ms', 'left out', 'outside'], rows),
  ].join('\n\n')
}

const labelOf = ({ arch, views, pixels }: Workload): string =>
  `${arch === 'resnet18' ? 'ResNet-18' : 'ResNet-50'}, ${pixels} px, ${views} views`

function plannedMarkdown(planned: readonly Planned[], efficiency: number, isMeasured: boolean): string {
  const shown = PLANNED_RANKS.filter((ranks) => [1, 8, 64, 1024].includes(ranks))
  const of = new Map<string, Planned[]>()
  for (const one of planned) {
    const key = `${labelOf(one.step)}|${one.link}`
    of.set(key, [...(of.get(key) ?? []), one])
  }
  const rows = [...of].map(([key, list]) => [
    ...key.split('|'),
    figure(1000 * list[0].seconds),
    ...shown.slice(1).map((ranks) => percent(list.find((one) => one.ranks === ranks)!.efficiency, 0)),
  ])
  return [
    '## Planned for many GPUs',
    `Assumed, not measured: a GPU with ${GPU_FLOPS / 1e12} TFLOP/s in a step, 64 images a rank, links with ${percent(efficiency, 0)} of ` +
      `their nominal speed${isMeasured ? ' (what the cable of 1 Gbit/s reaches here)' : ''}, exchanges whose bytes are at the host ` +
      "at once. The engine's own plan says when each bucket of gradients departs. The columns are images/s relative to as many " +
      'single GPUs. More views mean more computation for the same gradients, so they scale further.',
    markdownTable(['step', 'link', 'ms alone', ...shown.slice(1).map((ranks) => `${ranks} GPUs`)], rows),
  ].join('\n\n')
}

function reducePlot(fits: readonly Fitted[]): object {
  const series = fits.flatMap(({ place, points }): ChartSeries[] => [
    { name: place, points: points.map(({ bytes, seconds }) => ({ x: bytes / 2 ** 20, y: 1000 * seconds })) },
    {
      name: `${place}, model`,
      dashed: true,
      points: points.map(({ bytes, predicted }) => ({ x: bytes / 2 ** 20, y: 1000 * predicted })),
    },
  ])
  return lines(series, { x: { title: 'MiB', log: true }, y: { title: 'milliseconds', log: true } })
}

function planPlot(planned: readonly Planned[]): object {
  const series = new Map<string, ChartSeries & { points: { x: number; y: number }[] }>()
  for (const { step, link, ranks, efficiency } of planned) {
    const name = `${step.arch === 'resnet18' ? 'ResNet-18' : 'ResNet-50'}, ${step.views} views, ${link.split(' ').slice(0, 2).join(' ')}`
    const one = series.get(name) ?? { name, dashed: step.views === 2, points: [] }
    one.points.push({ x: ranks, y: efficiency })
    series.set(name, one)
  }
  // Lines along the upper edge show nothing.
  const falling = [...series.values()].filter(({ points }) => points.some(({ y }) => y < LOST))
  return lines(falling, {
    x: { title: 'GPUs', log: true },
    y: { title: 'images/s relative to single GPUs' },
  })
}
