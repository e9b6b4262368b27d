/**
 * The files of a run:
 *
 *     config.yaml                     the resolved configuration
 *     metrics.jsonl                   one line per step
 *     online.jsonl                    with onlineProbe: kNN accuracy, one line per checkpoint
 *     diagnostics.jsonl               spectrum, α, alignment, uniformity: one line per checkpoint, unless it is slow
 *     checkpoints/step-00000390/      whole or absent; `keep` and `keepWeights` say which ones stay
 *       model.safetensors             weights and running statistics under torchvision's names, with the projector
 *       average.safetensors           with emaRate: the moving average of the backbone
 *       state.safetensors             every Variable bit for bit, for resuming (the last checkpoints only)
 *       checkpoint.json               step, epoch, position in the epoch, seconds so far, adapter, variants, checksums
 *     summary.json                    written at the end
 *     views.png, report.html          written by the command `pretrain`, for readers
 */
import { stringify } from 'yaml'
import { z } from 'zod'
import { canonicalJson } from '../config/canonical_json.js'
import { ConfigError, resolveConfig, type PartialConfig, type PretrainConfig } from '../config/config.js'
import { parseYaml } from '../config/parse_yaml.js'
import { lineFiles, readLines } from './metrics.js'
import { parseJson, type RunStore } from './store.js'
import { validated } from './validated.js'

/** Its presence makes a folder a run. */
export const CONFIG_FILE = 'config.yaml'
const SUMMARY_FILE = 'summary.json'
/** Pictures and figures for a reader. */
export const VIEWS_FILE = 'views.png'
export const REPORT_FILE = 'report.html'
export const CHECKPOINTS = 'checkpoints'
const PREFIX = 'step-'

export const checkpointName = (step: number): string => `${PREFIX}${String(step).padStart(8, '0')}`

/** The step of a checkpoint's name; undefined if it is not the name of one. */
export function stepOf(name: string): number | undefined {
  const digits = name.startsWith(PREFIX) ? name.slice(PREFIX.length) : ''
  return /^\d+$/.test(digits) ? Number(digits) : undefined
}

/** The path of a checkpoint, or of a file in it. */
export const checkpointPath = (name: string, file?: string): string =>
  [CHECKPOINTS, name, ...(file === undefined ? [] : [file])].join('/')

/** The names of a run's checkpoints, oldest first. */
export const checkpointNames = async (store: RunStore): Promise<string[]> =>
  (await store.list(CHECKPOINTS)).filter((name) => stepOf(name) !== undefined).sort((a, b) => stepOf(a)! - stepOf(b)!)

const count = z.int().min(0)

/** The schema of summary.json. */
const summary = z.object({
  stopped: z.enum(['done', 'signal', 'time']),
  steps: count,
  totalSteps: count,
  epochs: count,
  finalLoss: z.number(),
  skipped: count.optional(),
  seconds: z.number(),
  secondsToFirstStep: z.number(),
  imagesPerSecond: z.number(),
  peakBytes: count,
  waitSeconds: z.number().optional(),
  waitShare: z.number().optional(),
  adapter: z.string(),
  date: z.string(),
})

/** What summary.json says of a run. */
export type Summary = z.infer<typeof summary>

export const writeSummary = (store: RunStore, summary: Summary): Promise<void> =>
  store.write(SUMMARY_FILE, `${JSON.stringify(summary, null, 2)}\n`)

/** The summary of a run; undefined before it has stopped for the first time. */
export async function readSummary(store: RunStore): Promise<Summary | undefined> {
  const text = await store.readText(SUMMARY_FILE)
  const file = store.nameOf(SUMMARY_FILE)
  return text === undefined ? undefined : validated(summary, parseJson(text, file), file)
}

/**
 * What the summary says of the last step, if the process was killed after that step and before it wrote the summary.
 *
 * @returns undefined if the summary of this step is there, or if the step has no line
 */
export async function lostEnd(
  store: RunStore,
  step: number,
): Promise<Pick<Summary, 'finalLoss' | 'imagesPerSecond'> | undefined> {
  const present = await readSummary(store).catch(() => undefined)
  if (present?.steps === step) return undefined
  const last = (await readLines(store, 'metrics.jsonl')).find((line) => line.step === step)
  return last && { finalLoss: last.loss, imagesPerSecond: last.imagesPerSecond }
}

/** Writes config.yaml. A resumed run writes it again, because epochs and steps may change. */
export const writeConfig = (store: RunStore, config: PretrainConfig): Promise<void> =>
  store.write(CONFIG_FILE, stringify(config))

/** @throws ConfigError in one line if there is no run, or its config.yaml is damaged */
export async function readConfig(store: RunStore): Promise<PretrainConfig> {
  const text = await store.readText(CONFIG_FILE)
  if (text === undefined) throw new ConfigError(`${store.nameOf()} holds no run (it has no ${CONFIG_FILE})`)
  const name = store.nameOf(CONFIG_FILE)
  const options = parseYaml(text, name)
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new ConfigError(`${name}: holds no options: the file is damaged`)
  try {
    return resolveConfig(asToday(options))
  } catch (error) {
    throw error instanceof ConfigError ? new ConfigError(`${name}: ${error.message}`) : error
  }
}

/** The options of a run by an earlier version: the spectral loss had no choice of the estimator. */
function asToday(options: PartialConfig): PartialConfig {
  return options.objective === 'spectral' && options.estimator === undefined
    ? { ...options, estimator: 'views' }
    : options
}

/** Whether the store holds a run with a checkpoint. */
export async function isResumable(store: RunStore): Promise<boolean> {
  if ((await store.readText(CONFIG_FILE)) === undefined) return false
  for (const name of await checkpointNames(store)) if ((await store.list(checkpointPath(name))).length > 0) return true
  return false
}

/** Throws if the store holds a run that could be resumed, so that no run is overwritten. */
export async function refuseExistingRun(store: RunStore): Promise<void> {
  if (await isResumable(store))
    throw new ConfigError(
      `\`out\` ${store.nameOf()} holds a run already: continue it with \`resume\`, or choose another folder`,
    )
}

/** Begins a run: writes its configuration, and removes the lines of an earlier run that never saved a checkpoint. */
export async function createRun(store: RunStore, config: PretrainConfig): Promise<void> {
  await refuseExistingRun(store)
  for (const file of lineFiles) await store.remove(file)
  await writeConfig(store, config)
}

/** Options that may change when a run is resumed. Any other change would make it another run. */
const changeable: readonly (keyof PretrainConfig)[] = [
  ...(['epochs', 'steps', 'checkpointEvery', 'checkpointMinutes', 'dataDir', 'stream'] as const),
]

/** The options that may not change while a run lasts. */
export const fixedFields = (config: PretrainConfig): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(config).filter(([name]) => !changeable.includes(name as keyof PretrainConfig)),
  ) as Record<string, unknown>

/**
 * Throws if config.yaml was edited after a checkpoint was saved.
 *
 * @param fixed the options as the checkpoint has them; it may lack options that were added later
 */
export function refuseEdits(store: RunStore, config: PretrainConfig, fixed: Record<string, unknown>): void {
  const now = fixedFields(config)
  for (const name of Object.keys(fixed))
    if (!changeable.includes(name as keyof PretrainConfig) && canonicalJson(fixed[name]) !== canonicalJson(now[name]))
      throw new ConfigError(
        `${store.nameOf(CONFIG_FILE)}: ${name} is ${JSON.stringify(now[name])}, but the run was trained with ${JSON.stringify(fixed[name])}: restore it, or start another run with another \`out\``,
      )
}

/** Throws if a resumed run would become another run. */
export function refuseChanges(store: RunStore, before: PretrainConfig, now: PretrainConfig): void {
  // An optional field may be in only one of them.
  for (const name of Object.keys({ ...before, ...now }) as (keyof PretrainConfig)[])
    if (!changeable.includes(name) && canonicalJson(before[name]) !== canonicalJson(now[name]))
      throw new ConfigError(
        `\`resume\`: the run in ${store.nameOf()} has ${name} ${JSON.stringify(before[name])}, not ${JSON.stringify(now[name])}: start another run with another \`out\``,
      )
}
