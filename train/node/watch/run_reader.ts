/** One run's folder, read as it grows. */
import { join } from 'node:path'
import { parseYaml } from '../../config/parse_yaml.js'
import { CONFIG_FILE } from '../../run/folder.js'
import { Columns, eachNumber } from './columns.js'
import { LineFile, type Line } from './line_file.js'
import { firstAbove, spread, type Points } from './thin.js'
import { WholeFile } from './whole_file.js'

/** `waiting`: no step yet. `ended`: all steps done. `stopped`: interrupted, or no new line for some time. */
export type RunState = 'waiting' | 'running' | 'stopped' | 'ended'

/** What the page shows of every run without asking for its series. */
export interface RunSummary {
  /** The folder as the page names it. */
  id: string
  /** A small number of its own, for its colour. */
  slot: number
  /** Grows with every change of the folder. */
  revision: number
  state: RunState
  /** When its metrics last changed, milliseconds since 1970; 0 before the first line. */
  changedAt: number
  /** The numbers of the last line of each file, as `metrics.loss` or `online.top1`. */
  latest: Record<string, number>
  step: number
  steps?: number
  /** The last line has a loss that is not finite. */
  diverged: boolean
  /** What the last diagnosis warns of. */
  warning?: string
  /** Fields of config.yaml by their path, such as `augmentation.size`. */
  config: Record<string, string>
  /** The file of the latest views changes with this; absent where there is none. */
  views?: number
}

export type Axis = 'step' | 'epoch' | 'hours'

export interface SeriesQuery {
  axis: Axis
  /** Of an earlier answer: only what is new since then. */
  since?: string
  /** Range of x. */
  from?: number
  to?: number
}

export interface SeriesAnswer {
  /** For the next query's `since`. */
  cursor: string
  /** These are only the points after `since`, to append. */
  appends: boolean
  series: Record<string, Points>
}

export interface SpectrumLine {
  step: number
  epoch?: number
  alpha?: number
  eigenvalues: number[]
}

const MOST_POINTS = 2000
const MOST_SPECTRA = 60
const LARGEST_CONFIG = 1 << 20
const LARGEST_PICTURE = 1 << 26
/** A run is taken for stopped when no line has come for this time or for so many steps. */
const QUIET_MS = 180_000
const QUIET_STEPS = 20
const DIGITS = 6

type Kind = 'metrics' | 'online' | 'diagnostics'

/** Diagnoses have a list of eigenvalues beside their numbers. */
class DiagnosisColumns extends Columns {
  spectra: SpectrumLine[] = []
  override line(line: Line): void {
    super.line(line)
    const { step, epoch, alpha, eigenvalues } = line as Partial<SpectrumLine> & Line
    this.spectra = this.spectra.filter((earlier) => earlier.step < step)
    if (Array.isArray(eigenvalues)) this.spectra.push({ step, epoch, alpha, eigenvalues })
  }
  override reset(): void {
    super.reset()
    this.spectra = []
  }
}

export class RunReader {
  revision = 0
  summary: RunSummary
  readonly #columns = { metrics: new Columns(), online: new Columns(), diagnostics: new DiagnosisColumns() }
  readonly #files: Record<Kind, LineFile>
  readonly #whole: Record<'config' | 'summary' | 'views', WholeFile>
  #config: Record<string, unknown> = {}
  #ended: { stopped?: string; [field: string]: unknown } = {}
  /** The reader does one thing at a time. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(
    readonly id: string,
    readonly folder: string,
    slot: number,
  ) {
    const file = (kind: Kind) => new LineFile(join(folder, `${kind}.jsonl`), this.#columns[kind])
    this.#files = { metrics: file('metrics'), online: file('online'), diagnostics: file('diagnostics') }
    this.#whole = {
      config: new WholeFile(join(folder, CONFIG_FILE), LARGEST_CONFIG),
      summary: new WholeFile(join(folder, 'summary.json'), LARGEST_CONFIG),
      views: new WholeFile(join(folder, 'views.png'), LARGEST_PICTURE),
    }
    const empty = { latest: {}, config: {}, step: 0, changedAt: 0, diverged: false }
    this.summary = { id, slot, revision: 0, state: 'waiting', ...empty }
  }

  /** Reads what is new. Returns whether anything changed; `revision` grows then. */
  poll(now = Date.now()): Promise<boolean> {
    return this.#alone(async () => {
      const { config, summary, views } = this.#whole
      const changes = [
        ...(await Promise.all(Object.values(this.#files).map((file) => file.poll()))),
        await views.poll(),
      ]
      if (await config.poll()) {
        changes.push(true)
        this.#config = asRecord(await config.parsed((text) => parseYaml(text, CONFIG_FILE)))
      }
      if (await summary.poll()) {
        changes.push(true)
        this.#ended = asRecord(await summary.parsed(JSON.parse))
      }
      const state = this.#state(now)
      if (!changes.includes(true) && state === this.summary.state) return false
      this.revision++
      this.summary = this.#summarize(state)
      return true
    })
  }

  /** All series of the run, each thinned to about 2,000 points. The first call reads the files whole. */
  series({ axis, since, from = -Infinity, to = Infinity }: SeriesQuery): Promise<SeriesAnswer> {
    return this.#alone(async () => {
      await inTurn(async () => {
        for (const file of Object.values(this.#files)) await file.load()
      })
      const x = this.#axis(axis)
      const after = this.#stepsSince(x.name, since)
      const series: Record<string, Points> = {}
      for (const kind of kinds)
        for (const name of this.#columns[kind].columns.keys()) {
          const last = to === Infinity ? Infinity : x.step(to)
          const first = Math.max(after?.[kind] ?? -Infinity, from === -Infinity ? -Infinity : x.step(from) - 1)
          const points = this.#columns[kind].between(name, first, last, MOST_POINTS)
          if (points.x.length > 0)
            series[`${kind}.${name}`] = { x: points.x.map((step) => x.of(step)), y: points.y.map(shortened) }
        }
      return { cursor: this.#cursor(x.name), appends: after !== undefined, series }
    })
  }

  /** Some spectra of the run, the first and the last among them. */
  spectra(): Promise<SpectrumLine[]> {
    return this.#alone(async () => {
      await this.#files.diagnostics.load()
      return spread(this.#columns.diagnostics.spectra, MOST_SPECTRA)
    })
  }

  /** The PNG file of the latest views. */
  views(): Promise<Buffer | undefined> {
    return this.#whole.views.read()
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => undefined)
    return result
  }

  #state(now: number): RunState {
    const { latest, changedAt } = this.#files.metrics
    const { changedAt: endedAt } = this.#whole.summary
    // A resumed run writes lines again while the summary of its first sitting is still there.
    if (endedAt > 0 && endedAt >= changedAt) return this.#ended.stopped === 'done' ? 'ended' : 'stopped'
    if (!latest) return 'waiting'
    const stepMs = (1000 * Number(latest.seconds ?? 0)) / Math.max(1, latest.step)
    return now - changedAt > Math.max(QUIET_MS, QUIET_STEPS * stepMs) ? 'stopped' : 'running'
  }

  #summarize(state: RunState): RunSummary {
    const latest: Record<string, number> = {}
    for (const kind of kinds) {
      const line = this.#files[kind].latest
      if (line) eachNumber(line, (name, value) => (latest[`${kind}.${name}`] = value))
    }
    if (typeof this.#ended.peakBytes === 'number') latest['metrics.peakBytes'] ??= this.#ended.peakBytes
    const { metrics, diagnostics } = this.#files
    const steps = metrics.latest?.steps
    const warning = diagnostics.latest?.warning
    return {
      id: this.id,
      slot: this.summary.slot,
      revision: this.revision,
      state,
      changedAt: metrics.changedAt,
      latest,
      step: metrics.latest?.step ?? 0,
      steps: typeof steps === 'number' ? steps : undefined,
      diverged: metrics.latest?.loss === null,
      warning: typeof warning === 'string' ? warning : undefined,
      config: flattened(this.#config),
      views: this.#whole.views.changedAt || undefined,
    }
  }

  #cursor(axis: string): string {
    return [axis, ...kinds.map((kind) => `${this.#columns[kind].generation}:${this.#columns[kind].lastStep}`)].join(',')
  }

  /** For each file the step after which a client has none yet; undefined where what it has is void. */
  #stepsSince(axis: string, cursor: string | undefined): Record<Kind, number> | undefined {
    const [name, ...rest] = cursor?.split(',') ?? []
    const parts = rest.map((part) => part.split(':').map(Number))
    if (name !== axis || parts.length !== kinds.length) return undefined
    if (kinds.some((kind, i) => parts[i][0] !== this.#columns[kind].generation)) return undefined
    const [metrics, online, diagnostics] = parts.map(([, step]) => (Number.isFinite(step) ? step : -1))
    return { metrics, online, diagnostics }
  }

  /** Converts steps to x and back; back gives the last step at or before x. Points of two names do not fit together. */
  #axis(axis: Axis): { name: string; of(step: number): number; step(x: number): number } {
    const seconds = this.#columns.metrics.columns.get('seconds')
    if (axis === 'hours' && seconds)
      return {
        name: axis,
        of: (step) => shortened((seconds.y[Math.max(0, firstAbove(seconds.x, step) - 1)] ?? 0) / 3600),
        step: (x) => seconds.x[firstAbove(seconds.y, x * 3600) - 1] ?? 0,
      }
    const perEpoch = axis === 'epoch' ? this.#stepsPerEpoch() : 1
    return {
      name: `${axis}/${perEpoch}`,
      of: (step) => shortened(step / perEpoch),
      step: (x) => Math.floor(x * perEpoch + 1e-6),
    }
  }

  #stepsPerEpoch(): number {
    const epochs = this.#columns.metrics.columns.get('epoch')
    // The line of a step has the epochs that were done before it.
    const first = epochs ? firstAbove(epochs.y, 0) : 0
    if (epochs && first > 0 && first < epochs.x.length) return (epochs.x[first] - 1) / epochs.y[first]
    const total = Number(this.#config.epochs)
    const steps = this.#files.metrics.latest?.steps
    return typeof steps === 'number' && total > 0 ? Math.max(1, steps / total) : 1
  }
}

/** Large runs load one after the other, so that the first is there soon. */
let loading: Promise<void> = Promise.resolve()
const inTurn = (load: () => Promise<void>): Promise<void> => (loading = loading.then(load, load))

const kinds: readonly Kind[] = ['metrics', 'online', 'diagnostics']

const asRecord = (value: unknown): Record<string, unknown> =>
  value !== null && typeof value === 'object' ? { ...value } : {}

/** Values by path, such as `augmentation.size`; lists stay whole. */
function flattened(fields: Record<string, unknown>, prefix = ''): Record<string, string> {
  const flat: Record<string, string> = {}
  for (const [name, value] of Object.entries(fields))
    if (value !== null && typeof value === 'object' && !Array.isArray(value))
      Object.assign(flat, flattened(value as Record<string, unknown>, `${prefix}${name}.`))
    else flat[prefix + name] = typeof value === 'string' ? value : JSON.stringify(value)
  return flat
}

const shortened = (value: number): number => (Number.isInteger(value) ? value : Number(value.toPrecision(DIGITS)))
