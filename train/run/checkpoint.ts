/**
 * A run's folder:
 *
 *     config.yaml                     as resolved
 *     metrics.jsonl                   a line a step
 *     online.jsonl                    with onlineProbe: nearest neighbours, a line a checkpoint
 *     diagnostics.jsonl               spectrum, α, alignment, uniformity: a line a checkpoint, where they take a small share of the time
 *     checkpoints/step-00000390/      whole or absent
 *       model.safetensors             weights and running statistics under torchvision's names, projector too
 *       average.safetensors           with emaRate: the moving average of the backbone, likewise
 *       state.safetensors             every Variable bit for bit, for resuming (the newest checkpoint only)
 *       checkpoint.json               step, epoch, position in it, seconds so far, adapter and kernels
 *     summary.json                    when it has ended
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { parse, stringify } from 'yaml'
import type { Engine, Variable } from '../../engine/index.js'
import {
  decodeSafetensors,
  encodeSafetensors,
  exportStateDict,
  importStateDict,
  toFloat32,
  type SafetensorsTensor,
  type StateDict,
} from '../../models/index.js'
import type { AugmentationRecipe } from '../augment/recipe.js'
import { ConfigError, resolveConfig, type PartialConfig, type PretrainConfig } from '../config/config.js'
import { readJson, unreadable, writeAtomically, writeFolderAtomically } from '../node/files.js'
import { lineFiles } from './metrics.js'

/** Where a run stands: enough, with every Variable, to go on bit for bit. */
export interface Progress {
  /** Steps done. */
  step: number
  /** Epochs done, and steps of the present one. */
  epoch: number
  stepInEpoch: number
  /** Wall-clock spent training, over all sittings: without checkpoints and what is read at them. */
  seconds: number
  /** The adapter, what lowering knows of it, and the kernels chosen on it: same target and table, same bits. */
  adapter: string
  target: object
  variants: Record<string, string>
}

export interface Checkpoint extends Progress {
  /** Holds model.safetensors. */
  folder: string
}

const stepFolder = (run: string, step: number): string =>
  join(run, 'checkpoints', `step-${String(step).padStart(8, '0')}`)

/** Throws where a folder holds a run that can be gone on with, so that none is overwritten. */
export function refuseExistingRun(folder: string): void {
  if (existsSync(join(folder, 'config.yaml')) && newestCheckpoint(folder))
    throw new ConfigError(`--out ${folder} holds a run already: continue it with --resume, or choose another folder`)
}

/** Makes the run's folder and writes its configuration; one left by a run that never saved is begun anew. */
export async function createRun(folder: string, config: PretrainConfig): Promise<void> {
  refuseExistingRun(folder)
  await mkdir(folder, { recursive: true })
  for (const name of lineFiles) await rm(join(folder, name), { force: true })
  await writeConfig(folder, config)
}

/** What may change when a run is resumed; anything else would make it another run. */
const changeable: readonly (keyof PretrainConfig)[] = ['epochs', 'steps', 'checkpointEvery', 'dataDir', 'stream']

/** Throws where a run that is resumed would become another one. */
export function refuseChanges(folder: string, before: PretrainConfig, now: PretrainConfig): void {
  // An optional field may be in one of them only.
  for (const name of Object.keys({ ...before, ...now }) as (keyof PretrainConfig)[])
    if (!changeable.includes(name) && !isDeepStrictEqual(before[name], now[name]))
      throw new ConfigError(
        `--resume: the run in ${folder} has ${name} ${JSON.stringify(before[name])}, not ${JSON.stringify(now[name])}: start another run with another --out`,
      )
}

/** Writes config.yaml; resuming writes it again where epochs or steps were changed. */
export const writeConfig = (folder: string, config: PretrainConfig): Promise<void> =>
  writeAtomically(join(folder, 'config.yaml'), stringify(config))

/** The names of the checkpoints' folders, oldest first. */
function checkpointNames(folder: string): string[] {
  const checkpoints = join(folder, 'checkpoints')
  if (!existsSync(checkpoints)) return []
  return readdirSync(checkpoints)
    .filter((name) => /^step-\d+$/.test(name))
    .sort()
}

const newestCheckpoint = (folder: string): string | undefined => checkpointNames(folder).pop()

const readCheckpoint = async (folder: string, name: string): Promise<Checkpoint> => {
  const at = join(folder, 'checkpoints', name)
  return { ...((await readJson(join(at, 'checkpoint.json'))) as Progress), folder: at }
}

/**
 * A checkpoint of a run to read out: the newest, or the one of a name or a step.
 *
 * @param wanted as a user gives it: `step-00000390` or `390`
 * @throws in one line that says which there are
 */
export async function chooseCheckpoint(
  folder: string,
  wanted?: string,
): Promise<{ config: PretrainConfig; checkpoint: Checkpoint }> {
  const { config, latest } = await openRun(folder)
  if (!latest)
    throw new ConfigError(`--run ${folder}: holds no checkpoint yet; let it reach one, or stop it with Ctrl-C`)
  if (wanted === undefined) return { config, checkpoint: latest }
  const names = checkpointNames(folder)
  const name = names.find((one) => one === wanted || (/^\d+$/.test(wanted) && stepOf(one) === Number(wanted)))
  if (name === undefined)
    throw new ConfigError(
      `--checkpoint ${wanted}: the run in ${folder} has none of that name or step; it has those of the steps ${names.map(stepOf).join(', ')}`,
    )
  return { config, checkpoint: await readCheckpoint(folder, name) }
}

const stepOf = (name: string): number => Number(name.slice('step-'.length))

const MOST_LISTED = 5

/** The runs in a folder's subfolders, as a quickstart or, in `runs/`, a sweep leaves them; in order. */
function runsWithin(folder: string, depth = 2): string[] {
  if (depth === 0 || !existsSync(folder) || !statSync(folder).isDirectory()) return []
  const subfolders = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return subfolders
    .map(({ name }) => join(folder, name))
    .sort()
    .flatMap((inner) => (existsSync(join(inner, 'config.yaml')) ? [inner] : runsWithin(inner, depth - 1)))
}

/**
 * Opens a run's folder: its configuration and its newest checkpoint.
 *
 * @throws in one line where it is no run's folder
 */
export async function openRun(
  folder: string,
): Promise<{ folder: string; config: PretrainConfig; latest?: Checkpoint }> {
  let text: string
  try {
    text = await readFile(join(folder, 'config.yaml'), 'utf8')
  } catch {
    const within = runsWithin(folder)
    const listed = within.slice(0, MOST_LISTED).join(', ') + (within.length > MOST_LISTED ? ', …' : '')
    throw new ConfigError(
      `${folder} holds no run (it has no config.yaml): name ${within.length ? `one of those in it: ${listed}` : 'a folder that `npm run pretrain` wrote with --out'}`,
    )
  }
  const config = resolveConfig(parse(text) as PartialConfig)
  const newest = newestCheckpoint(folder)
  if (!newest) return { folder, config }
  return { folder, config, latest: await readCheckpoint(folder, newest) }
}

/** What a checkpoint is of. */
export interface Saved {
  /** The networks that are trained. */
  readonly dicts: readonly StateDict[]
  /** The moving average of the backbone. */
  readonly average?: StateDict
  /** All else that resuming needs, the averages' Variables included. */
  readonly state: readonly Variable[]
}

/** Writes a checkpoint; older ones keep their weights and give up what only resuming needs. */
export async function saveCheckpoint(
  engine: Engine,
  folder: string,
  { dicts, average, state }: Saved,
  progress: Progress,
  config: PretrainConfig,
): Promise<string> {
  const model: Record<string, SafetensorsTensor> = {}
  for (const dict of dicts) Object.assign(model, await exportStateDict(engine, dict))
  const exact: Record<string, SafetensorsTensor> = {}
  for (const v of [...dicts.flatMap((d) => d.variables), ...state]) {
    if (v.name in exact) throw new Error(`checkpoint: two Variables are called '${v.name}'`)
    exact[v.name] = { dtype: v.dtype === 'u32' ? 'U32' : 'F32', shape: [...v.shape], data: await engine.read(v) }
  }
  const metadata = { ...featureMetadata(featureInfoOf(config)), step: String(progress.step) }
  const target = stepFolder(folder, progress.step)
  await writeFolderAtomically(
    target,
    async (temporary) => {
      await writeFile(join(temporary, 'model.safetensors'), encodeSafetensors(model, metadata), { flush: true })
      if (average)
        await writeFile(
          join(temporary, 'average.safetensors'),
          encodeSafetensors(await exportStateDict(engine, average), metadata),
          { flush: true },
        )
      await writeFile(join(temporary, 'state.safetensors'), encodeSafetensors(exact), { flush: true })
      await writeFile(join(temporary, 'checkpoint.json'), JSON.stringify(progress, null, 2), { flush: true })
    },
    { finishOnSignal: true },
  )
  for (const name of await readdir(join(folder, 'checkpoints')))
    if (name.startsWith('step-') && join(folder, 'checkpoints', name) !== target)
      await rm(join(folder, 'checkpoints', name, 'state.safetensors'), { force: true })
  return target
}

/** What a network's features depend on beside its weights. */
export interface FeatureInfo {
  arch: PretrainConfig['arch']
  width: number
  stem: PretrainConfig['stem']
  stemRelu: boolean
  /** Height and width of a clean view. */
  imageSize: number
  /** What pixels were normalised by. */
  mean: AugmentationRecipe['mean']
  std: AugmentationRecipe['std']
}

export function featureInfoOf({ arch, width, stem, stemRelu, augmentation }: PretrainConfig): FeatureInfo {
  const { size: imageSize, mean, std } = augmentation
  return { arch, width, stem, stemRelu, imageSize, mean, std }
}

/** The same as the metadata of a weights file. */
export const featureMetadata = (info: FeatureInfo): Record<string, string> =>
  Object.fromEntries(
    Object.entries(info).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  )

/**
 * What a weights file says of it: all where `pretrain` wrote the file, nothing where another program did.
 *
 * @throws in one line where an entry cannot be read
 */
export function featureInfoIn(metadata: Readonly<Record<string, string>>, file: string): Partial<FeatureInfo> {
  const found: Record<string, unknown> = {}
  for (const name of ['arch', 'width', 'stem', 'stemRelu', 'imageSize', 'mean', 'std'] as const) {
    const text = metadata[name] as string | undefined
    if (text === undefined) continue
    try {
      found[name] = name === 'arch' || name === 'stem' ? text : JSON.parse(text)
    } catch {
      throw new ConfigError(`${file}: its metadata has ${name} '${text}', which cannot be read: it is damaged`)
    }
  }
  return found
}

/** Reads a safetensors file; a missing or damaged one gives one line. */
export const readTensors = async (file: string): Promise<Record<string, SafetensorsTensor>> =>
  (await readWeights(file)).tensors

/** The same with its metadata. */
export async function readWeights(file: string): Promise<ReturnType<typeof decodeSafetensors>> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(file)
  } catch (error) {
    throw new ConfigError(unreadable(file, error))
  }
  return decodeSafetensors(bytes, file)
}

/** Loads a network's weights from a torchvision-named safetensors file. */
export async function loadModel(engine: Engine, dict: StateDict, file: string): Promise<void> {
  importStateDict(engine, dict, await readTensors(file), file)
}

/** Sets every Variable to what a checkpoint holds; nothing is written unless all of it fits. */
export async function restoreState(
  engine: Engine,
  checkpoint: Checkpoint,
  variables: readonly Variable[],
): Promise<void> {
  const file = join(checkpoint.folder, 'state.safetensors')
  const tensors = await readTensors(file)
  for (const v of variables) {
    const tensor = tensors[v.name]
    if (!tensor || tensor.shape.join() !== v.shape.join())
      throw new ConfigError(
        `${file}: '${v.name}' is missing or of another shape: it is a checkpoint of another architecture`,
      )
  }
  for (const v of variables) {
    const tensor = tensors[v.name]
    engine.write(v, tensor.dtype === 'U32' ? (tensor.data as Uint32Array) : toFloat32(tensor))
  }
}
