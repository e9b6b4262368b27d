/**
 * The files of a run:
 *
 *     config.yaml                     the resolved configuration
 *     metrics.jsonl                   one line per step
 *     online.jsonl                    with onlineProbe: kNN accuracy, one line per checkpoint
 *     diagnostics.jsonl               spectrum, α, alignment, uniformity: one line per checkpoint, unless it is slow
 *     checkpoints/step-00000390/      whole or absent
 *       model.safetensors             weights and running statistics under torchvision's names, with the projector
 *       average.safetensors           with emaRate: the moving average of the backbone
 *       state.safetensors             every Variable bit for bit, for resuming (newest checkpoint only)
 *       checkpoint.json               step, epoch, position in the epoch, seconds so far, adapter and variants
 *     summary.json                    written at the end
 *     views.png, report.html          written by the command `pretrain`, for readers
 */
import { stringify } from 'yaml'
import { canonicalJson } from '../config/canonical_json.js'
import { ConfigError, resolveConfig, type PartialConfig, type PretrainConfig } from '../config/config.js'
import { parseYaml } from '../config/parse_yaml.js'
import { lineFiles } from './metrics.js'
import { parseJson, type RunStore } from './store.js'

/** Its presence makes a folder a run. */
export const CONFIG_FILE = 'config.yaml'
const SUMMARY_FILE = 'summary.json'
/** Pictures and figures for a reader. */
export const VIEWS_FILE = 'views.png'
export const REPORT_FILE = 'report.html'
const CHECKPOINTS = 'checkpoints'
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
  (await store.list(CHECKPOINTS)).filter((name) => stepOf(name) !== undefined).sort()

/** What summary.json says of a run. */
export interface Summary {
  stopped: 'done' | 'signal' | 'time'
  steps: number
  totalSteps: number
  epochs: number
  finalLoss: number
  skipped?: number
  seconds: number
  secondsToFirstStep: number
  imagesPerSecond: number
  peakBytes: number
  waitSeconds?: number
  waitShare?: number
  adapter: string
  date: string
}

export const writeSummary = (store: RunStore, summary: Summary): Promise<void> =>
  store.write(SUMMARY_FILE, `${JSON.stringify(summary, null, 2)}\n`)

/** The summary of a run; undefined before it has stopped for the first time. */
export async function readSummary(store: RunStore): Promise<Summary | undefined> {
  const text = await store.readText(SUMMARY_FILE)
  return text === undefined ? undefined : (parseJson(text, store.nameOf(SUMMARY_FILE)) as Summary)
}

/** Writes config.yaml. A resumed run writes it again, because epochs and steps may change. */
export const writeConfig = (store: RunStore, config: PretrainConfig): Promise<void> =>
  store.write(CONFIG_FILE, stringify(config))

/** @throws ConfigError if there is no run */
export async function readConfig(store: RunStore): Promise<PretrainConfig> {
  const text = await store.readText(CONFIG_FILE)
  if (text === undefined) throw new ConfigError(`${store.nameOf()} holds no run (it has no ${CONFIG_FILE})`)
  const name = store.nameOf(CONFIG_FILE)
  const options = parseYaml(text, name)
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new ConfigError(`${name}: holds no options: the file is damaged`)
  try {
    return resolveConfig(options as PartialConfig)
  } catch (error) {
    throw error instanceof ConfigError ? new ConfigError(`${name}: ${error.message}`) : error
  }
}

/** Whether the store holds a run with a checkpoint. */
export const isResumable = async (store: RunStore): Promise<boolean> =>
  (await store.readText(CONFIG_FILE)) !== undefined && (await checkpointNames(store)).length > 0

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

/** Throws if a resumed run would become another run. */
export function refuseChanges(store: RunStore, before: PretrainConfig, now: PretrainConfig): void {
  // An optional field may be in only one of them.
  for (const name of Object.keys({ ...before, ...now }) as (keyof PretrainConfig)[])
    if (!changeable.includes(name) && canonicalJson(before[name]) !== canonicalJson(now[name]))
      throw new ConfigError(
        `\`resume\`: the run in ${store.nameOf()} has ${name} ${JSON.stringify(before[name])}, not ${JSON.stringify(now[name])}: start another run with another \`out\``,
      )
}
