/** What a checkpoint holds: how it is saved and how a run is restored from it. */
import type { Engine, Variable } from '../../engine/index.js'
import {
  decodeSafetensors,
  encodeSafetensors,
  exportStateDict,
  toFloat32,
  type SafetensorsTensor,
  type StateDict,
} from '../../models/index.js'
import { ConfigError, type PretrainConfig } from '../config/config.js'
import {
  AVERAGE_FILE,
  checkFiles,
  MODEL_FILE,
  readCheckpoint,
  RECORD_FILE,
  recordText,
  sha256,
  STATE_FILE,
  type Checkpoint,
  type FileRecords,
  type Progress,
} from './checkpoint_record.js'
import {
  checkpointName,
  checkpointNames,
  checkpointPath,
  isResumable,
  readConfig,
  refuseEdits,
  stepOf,
} from './folder.js'
import type { RunStore, WriteInto } from './store.js'
import { featureInfoOf, featureMetadata } from './weights.js'

/** What a checkpoint is made of. */
export interface Saved {
  /** The trained networks. */
  readonly dicts: readonly StateDict[]
  /** The moving average of the backbone. */
  readonly average?: StateDict
  /** Everything else that resuming needs, including the Variables of moving averages. */
  readonly state: readonly Variable[]
}

/** How many checkpoints keep what resuming needs. */
export const KEEP = 2

export interface SaveOptions {
  /** The number of checkpoints, the new one included, that keep what resuming needs. */
  keep: number
  /** The names of checkpoints that are damaged and do not count. */
  damaged: readonly string[]
}

/**
 * Writes a checkpoint. The last checkpoints stay whole. Older ones keep their weights, but lose the state that only
 * resuming needs; those that were saved by time, or between those whose weights stay, are removed.
 */
export async function saveCheckpoint(
  engine: Engine,
  store: RunStore,
  saved: Saved,
  progress: Progress,
  config: PretrainConfig,
  { keep, damaged }: SaveOptions,
): Promise<void> {
  const newest = checkpointName(progress.step)
  const present = await readCheckpoint(store, newest).catch(() => undefined)
  const isWhole =
    present?.files &&
    (await checkFiles(store, present, 'resume')
      .then(() => true)
      .catch(() => false))
  // A whole checkpoint of this step holds the same state, and is never taken away to be written again.
  if (isWhole)
    await store.write(checkpointPath(newest, RECORD_FILE), await recordText(progress, config, present.files!))
  else await store.writeFolder(checkpointPath(newest), (write) => writeFiles(engine, write, saved, progress, config))
  const older = (await checkpointNames(store)).filter((name) => stepOf(name)! < progress.step)
  const whole = older.filter((name) => !damaged.includes(name))
  const kept = new Set(keep > 1 ? whole.slice(1 - keep) : [])
  for (const name of older) {
    if (kept.has(name)) continue
    const { byTime, passing } = await readCheckpoint(store, name).catch((): Partial<Progress> => ({}))
    await store.remove(checkpointPath(name, STATE_FILE))
    if (!byTime && !passing) continue
    // The record goes last: if the process is killed meanwhile, the next checkpoint removes what is left.
    for (const file of [AVERAGE_FILE, MODEL_FILE]) await store.remove(checkpointPath(name, file))
    await store.remove(checkpointPath(name))
  }
}

async function writeFiles(
  engine: Engine,
  write: WriteInto,
  { dicts, average, state }: Saved,
  progress: Progress,
  config: PretrainConfig,
): Promise<void> {
  const model: Record<string, SafetensorsTensor> = {}
  for (const dict of dicts) Object.assign(model, await exportStateDict(engine, dict))
  const exact: Record<string, SafetensorsTensor> = {}
  for (const v of [...dicts.flatMap((d) => d.variables), ...state]) {
    if (v.name in exact) throw new Error(`checkpoint: two Variables are called '${v.name}'`)
    exact[v.name] = { dtype: v.dtype === 'u32' ? 'U32' : 'F32', shape: [...v.shape], data: await engine.read(v) }
  }
  const metadata = { ...featureMetadata(featureInfoOf(config)), step: String(progress.step) }
  const files: FileRecords = {}
  const writeRecorded = async (name: string, bytes: Uint8Array): Promise<void> => {
    files[name] = { bytes: bytes.length, sha256: await sha256(bytes) }
    await write(name, bytes)
  }
  await writeRecorded(MODEL_FILE, encodeSafetensors(model, metadata))
  if (average) await writeRecorded(AVERAGE_FILE, encodeSafetensors(await exportStateDict(engine, average), metadata))
  await writeRecorded(STATE_FILE, encodeSafetensors(exact))
  await write(RECORD_FILE, await recordText(progress, config, files))
}

/** Sets every Variable to its value in a checkpoint. Nothing is written unless all of them fit. */
export async function restoreState(
  engine: Engine,
  store: RunStore,
  checkpoint: Checkpoint,
  variables: readonly Variable[],
): Promise<void> {
  const path = checkpointPath(checkpoint.name, STATE_FILE)
  const file = store.nameOf(path)
  const bytes = await store.readBytes(path)
  if (!bytes) throw new ConfigError(`${file}: there is no such file`)
  const { tensors } = decodeSafetensors(bytes, file)
  for (const v of variables) {
    const tensor = tensors[v.name]
    if (!tensor || tensor.shape.join() !== v.shape.join())
      throw new ConfigError(
        `${file}: '${v.name}' is missing or has another shape: the checkpoint is from another architecture`,
      )
  }
  for (const v of variables) {
    const tensor = tensors[v.name]
    engine.write(v, tensor.dtype === 'U32' ? (tensor.data as Uint32Array) : toFloat32(tensor))
  }
}

export interface OpenOptions {
  /** 'resume' needs the whole state of a checkpoint; 'read', the default, only its weights. */
  purpose?: 'resume' | 'read'
  /** Told in one line about each damaged checkpoint that is passed over. */
  onMessage?(line: string): void
}

/**
 * Reads a run's configuration and its newest whole checkpoint.
 *
 * @returns `damaged` has the names of newer checkpoints, which are passed over
 * @throws ConfigError in one line if the store holds no run, if its configuration was edited, or if it has checkpoints,
 *   but none is whole
 */
export async function openRun(
  store: RunStore,
  { purpose = 'read', onMessage }: OpenOptions = {},
): Promise<{ config: PretrainConfig; latest?: Checkpoint; damaged: string[] }> {
  const config = await readConfig(store)
  const damaged: string[] = []
  const reasons: string[] = []
  for (const name of (await checkpointNames(store)).reverse()) {
    let latest: Checkpoint
    try {
      latest = await readCheckpoint(store, name)
      await checkFiles(store, latest, purpose)
    } catch (error) {
      damaged.push(name)
      reasons.push((error as Error).message.split('\n')[0])
      continue
    }
    if (latest.config) refuseEdits(store, config, latest.config)
    for (const reason of reasons) onMessage?.(`${reason}; ${name} is used instead`)
    return { config, latest, damaged }
  }
  if (await isResumable(store))
    throw new ConfigError(`${reasons[0]}; ${store.nameOf()} has no other checkpoint to use: start another run`)
  return { config, damaged }
}
