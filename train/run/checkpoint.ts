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
import { checkpointName, checkpointNames, checkpointPath, readConfig } from './folder.js'
import { parseJson, type RunStore } from './store.js'
import { featureInfoOf, featureMetadata } from './weights.js'

/** Where a run stands. Together with every Variable, this is enough to continue bit for bit. */
export interface Progress {
  /** Steps done. */
  step: number
  /** Epochs done, and steps done in the current epoch. */
  epoch: number
  stepInEpoch: number
  /** Training time of the whole run so far, in seconds, without checkpoints and readouts. */
  seconds: number
  /**
   * The adapter, its properties that lowering uses, and the variants chosen on it: same target and variants, same bits.
   */
  adapter: string
  target: object
  variants: Record<string, string>
  /** Saved because of `checkpointMinutes`: the next checkpoint replaces this one. */
  byTime?: true
}

export interface Checkpoint extends Progress {
  /** The name of its folder among the run's checkpoints. */
  readonly name: string
}

/** What a checkpoint is made of. */
export interface Saved {
  /** The trained networks. */
  readonly dicts: readonly StateDict[]
  /** The moving average of the backbone. */
  readonly average?: StateDict
  /** Everything else that resuming needs, including the Variables of moving averages. */
  readonly state: readonly Variable[]
}

const PROGRESS_FILE = 'checkpoint.json'
const STATE_FILE = 'state.safetensors'

/** The weights files of a checkpoint. */
export const MODEL_FILE = 'model.safetensors'
export const AVERAGE_FILE = 'average.safetensors'

/**
 * Writes a checkpoint. Older checkpoints keep their weights, but lose the state that only resuming needs. Those that
 * were saved by time are removed.
 */
export async function saveCheckpoint(
  engine: Engine,
  store: RunStore,
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
  const newest = checkpointName(progress.step)
  await store.writeFolder(checkpointPath(newest), async (write) => {
    await write(MODEL_FILE, encodeSafetensors(model, metadata))
    if (average) await write(AVERAGE_FILE, encodeSafetensors(await exportStateDict(engine, average), metadata))
    await write(STATE_FILE, encodeSafetensors(exact))
    await write(PROGRESS_FILE, JSON.stringify(progress, null, 2))
  })
  for (const name of await checkpointNames(store)) {
    if (name === newest) continue
    const { byTime } = await readCheckpoint(store, name).catch(() => ({ byTime: undefined }))
    await store.remove(byTime ? checkpointPath(name) : checkpointPath(name, STATE_FILE))
  }
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

/** Where a run stood at a checkpoint. */
export async function readCheckpoint(store: RunStore, name: string): Promise<Checkpoint> {
  const path = checkpointPath(name, PROGRESS_FILE)
  const text = await store.readText(path)
  if (text === undefined) throw new Error(`${store.nameOf(path)}: there is no such file`)
  return { ...(parseJson(text, store.nameOf(path)) as Progress), name }
}

/**
 * Reads a run's configuration and its newest checkpoint.
 *
 * @throws ConfigError in one line if the store holds no run
 */
export async function openRun(store: RunStore): Promise<{ config: PretrainConfig; latest?: Checkpoint }> {
  const config = await readConfig(store)
  const newest = (await checkpointNames(store)).pop()
  return { config, ...(newest !== undefined && { latest: await readCheckpoint(store, newest) }) }
}
