/**
 * The first minutes on a GPU: all measurements one after another, each in a process with a time limit. What is measured
 * is on disk at every moment, and one page shows it.
 */
import { existsSync, readFileSync } from 'node:fs'
import { appendFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cacheFolder } from '../../../engine/node/cache_folder.mjs'
import { ConfigError } from '../../../train/config/config.js'
import { writeAtomically } from '../../../train/node/files.js'
import { runChild, type ChildEnd } from './child.js'
import { gpuPage } from './page.js'
import { disagreements, type SmokeResults } from './smoke.js'
import { stages as allStages, type Part, type Setting, type Stage } from './stages.js'

export type StageState =
  | 'waiting'
  | 'running'
  | 'done'
  | 'failed'
  /** It was ended at its time limit; what it had measured until then is kept. */
  | 'out of time'
  /** It was not started: no time was left, or an earlier stage stopped everything. */
  | 'left out'

export interface StageRecord {
  name: string
  part: Part
  says: string
  state: StageState
  /** Seconds that it took, and those that it was given. */
  seconds?: number
  limit?: number
  /** The last line that it wrote, or why it failed. */
  line?: string
  results?: unknown
}

export interface GpuResults {
  kind: 'gpu'
  date: string
  minutes: number
  stages: StageRecord[]
  /** Why the stages after one were left out. */
  stopped?: string
}

export interface GpuOptions extends Omit<Setting, 'work'> {
  minutes: number
  /** Only this part; the results of the other parts in `out` stay. */
  part?: Part
  force?: boolean
  onMessage(line: string): void
  signal?: AbortSignal
  /** For tests: other stages. */
  stages?: readonly Stage[]
}

const FILES = { results: 'results.json', log: 'log.txt', page: 'report.html', variants: 'variants.json' }
/** Kept for the page at the end. */
const RESERVE_SECONDS = 5
/** Less time is not worth starting a stage. */
const LEAST_SECONDS = 2
const SAVE_EVERY_MS = 1000
const STOPPED = 'an earlier stage stopped everything'
/** Files that come back from a machine are limited to 16 MiB. */
const MOST_LOG = 4 * 2 ** 20

/** Runs the stages. @returns the results, as results.json in `out` has them */
export async function benchGpu(options: GpuOptions): Promise<GpuResults> {
  const { minutes, out, part, force, onMessage, signal, stages = allStages } = options
  const deadline = performance.now() + minutes * 60_000
  const chosen = stages.filter((stage) => part === undefined || stage.part === part)
  const earlier = readEarlier(out, { part, force })
  await mkdir(out, { recursive: true })
  const work = await mkdtemp(join(tmpdir(), 'bench-gpu-'))
  const setting: Setting = { ...options, work }
  const results: GpuResults = {
    kind: 'gpu',
    date: new Date().toISOString(),
    minutes,
    stages: stages.map(({ name, part: own, says }) => ({ name, part: own, says, state: 'waiting' })),
  }
  for (const record of results.stages) {
    const kept = chosen.some(({ name }) => name === record.name)
      ? undefined
      : earlier?.stages.find(({ name }) => name === record.name)
    Object.assign(record, kept ?? {})
  }
  const saving = new Saving(out, results)
  await saving.now(true)
  try {
    for (const [i, stage] of chosen.entries()) {
      const record = results.stages.find(({ name }) => name === stage.name)!
      const left = (deadline - performance.now()) / 1000 - RESERVE_SECONDS
      const weights = chosen.slice(i).reduce((sum, { weight }) => sum + weight, 0)
      const limit = (left * stage.weight) / weights
      if (results.stopped !== undefined || signal?.aborted || limit < LEAST_SECONDS) {
        record.state = 'left out'
        record.line =
          results.stopped !== undefined ? STOPPED : signal?.aborted ? 'the command was stopped' : 'no time was left'
        continue
      }
      onMessage(`${stage.name} (${stage.says}): at most ${limit.toFixed(0)} s`)
      await runStage(stage, record, setting, limit, saving, signal)
      onMessage(
        `${stage.name}: ${record.state} after ${record.seconds!.toFixed(0)} s${record.line ? `: ${record.line}` : ''}`,
      )
      results.stopped ??= reasonToStop(stage, record)
      await saving.now(true)
    }
    return results
  } finally {
    await keepVariants(out)
    await saving.now(true)
    await rm(work, { recursive: true, force: true })
  }
}

/** @throws ConfigError if results would be lost */
function readEarlier(out: string, { part, force }: Pick<GpuOptions, 'part' | 'force'>): GpuResults | undefined {
  const path = join(out, FILES.results)
  if (!existsSync(path)) return undefined
  if (part === undefined && !force)
    throw new ConfigError(`--out ${out}: holds results already: give another folder, --stage for one part, or --force`)
  return part === undefined ? undefined : (JSON.parse(readFileSync(path, 'utf8')) as GpuResults)
}

async function runStage(
  stage: Stage,
  record: StageRecord,
  setting: Setting,
  limit: number,
  saving: Saving,
  signal: AbortSignal | undefined,
): Promise<void> {
  const preload = ['--import', import.meta.resolve('./end_with_parent.mjs'), '--import', import.meta.resolve('tsx')]
  const env = {
    ...process.env,
    ...(setting.adapter !== undefined && { WEBGPU_SSL_ADAPTER: setting.adapter }),
    ...stage.env?.(setting),
  }
  Object.assign(record, { state: 'running', limit: Math.round(limit), line: undefined, results: undefined })
  const collect = (): void => {
    try {
      record.results = stage.results(setting) ?? record.results
    } catch (error) {
      // What one stage has written must not end the others.
      record.line = `its results cannot be read: ${(error as Error).message}`
    }
  }
  saving.log(`\n===== ${stage.name}, at most ${limit.toFixed(0)} s\n`)
  await saving.now()
  const timer = setInterval(() => {
    collect()
    void saving.now()
  }, SAVE_EVERY_MS)
  const end = await runChild(process.execPath, [...preload, ...stage.command(setting)], {
    ...{ limit, env, signal },
    onText: (text) => saving.log(text),
  })
  clearInterval(timer)
  Object.assign(record, { seconds: end.seconds, ...verdictOf(end) })
  collect()
}

function verdictOf({ code, signal, late, lastLine }: ChildEnd): Pick<StageRecord, 'state' | 'line'> {
  if (late) return { state: 'out of time', line: lastLine }
  if (code === 0) return { state: 'done', line: lastLine }
  return { state: 'failed', line: signal ? `ended by ${signal}${lastLine && `: ${lastLine}`}` : lastLine }
}

/** A kernel that computes something else than the plain one: figures of what follows would mean nothing. */
function reasonToStop({ name }: Stage, { results }: StageRecord): string | undefined {
  if (name !== 'smoke' || !results) return undefined
  const wrong = disagreements(results as SmokeResults)
  if (!wrong.length) return undefined
  const [{ product, variant }] = wrong
  return `${wrong.length} of the compared variants disagree with the plain one, such as ${variant} of ${product}`
}

/** The measured variants of all adapters, from the cache, so that they can be used on the same card again. */
async function keepVariants(out: string): Promise<void> {
  const path = join(cacheFolder(), FILES.variants)
  if (existsSync(path)) await writeAtomically(join(out, FILES.variants), readFileSync(path))
}

/** Writes the results, the log and the page. One write follows another. */
class Saving {
  private last: Promise<void> = Promise.resolve()
  private pending = ''
  private logged = 0
  private begun = false

  constructor(
    private readonly out: string,
    private readonly results: GpuResults,
  ) {}

  log(text: string): void {
    if (this.logged < MOST_LOG) this.pending += text
    this.logged += text.length
  }

  /** @param withPage also the page, which takes longer */
  now(withPage = false): Promise<void> {
    return (this.last = this.last.then(() => this.write(withPage)))
  }

  private async write(withPage: boolean): Promise<void> {
    const { out, results, pending } = this
    this.pending = ''
    if (pending || !this.begun) await appendFile(join(out, FILES.log), pending)
    this.begun = true
    await writeAtomically(join(out, FILES.results), `${JSON.stringify(results)}\n`)
    if (!withPage) return
    try {
      await writeAtomically(join(out, FILES.page), await gpuPage(results))
    } catch (error) {
      // The results are more than the page.
      await appendFile(join(out, FILES.log), `\nreport.html cannot be written: ${(error as Error).stack}\n`)
    }
  }
}
