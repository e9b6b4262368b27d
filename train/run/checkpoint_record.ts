/**
 * checkpoint.json: where a run stood, which run it was, and what the other files of the checkpoint hold. A checkpoint
 * is used only if all of this fits. Checkpoints of earlier versions have no checksums: they are checked as far as the
 * format of their files allows.
 */
import { z } from 'zod'
import { decodeSafetensors } from '../../models/index.js'
import { canonicalJson } from '../config/canonical_json.js'
import { ConfigError, type PretrainConfig } from '../config/config.js'
import { checkpointNames, checkpointPath, fixedFields, stepOf } from './folder.js'
import { parseJson, type RunStore } from './store.js'
import { validated } from './validated.js'

export const RECORD_FILE = 'checkpoint.json'
export const STATE_FILE = 'state.safetensors'

/** The weights files of a checkpoint. */
export const MODEL_FILE = 'model.safetensors'
export const AVERAGE_FILE = 'average.safetensors'

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
  /** Saved because of `checkpointMinutes`: removed when it is no longer among the last checkpoints. */
  byTime?: true
  /** Not one of those whose weights stay (`keepWeights`): removed when it is no longer among the last checkpoints. */
  passing?: true
}

/** Size and SHA-256, in hexadecimal, of each file of a checkpoint. */
export type FileRecords = Record<string, { bytes: number; sha256: string }>

export interface Checkpoint extends Progress {
  /** The name of its folder among the run's checkpoints. */
  readonly name: string
  /** The options that may not change while the run lasts, as they were. */
  readonly config?: Record<string, unknown>
  readonly files?: FileRecords
}

const whole = z.int().min(0)
const digest = z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256')

const schema = z.looseObject({
  step: whole,
  epoch: whole,
  stepInEpoch: whole,
  seconds: z.number().min(0),
  adapter: z.string(),
  target: z.looseObject({}),
  variants: z.record(z.string(), z.string()),
  byTime: z.literal(true).optional(),
  passing: z.literal(true).optional(),
  config: z.looseObject({}).optional(),
  files: z.record(z.string().regex(/^\w+\.safetensors$/), z.object({ bytes: whole, sha256: digest })).optional(),
  sha256: digest.optional(),
})

/** SHA-256 in hexadecimal. */
export async function sha256(data: string | Uint8Array): Promise<string> {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>))
  return [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** The text of checkpoint.json. Its last field is a checksum of the others. */
export async function recordText(progress: Progress, config: PretrainConfig, files: FileRecords): Promise<string> {
  const record = { ...progress, config: fixedFields(config), files }
  return JSON.stringify({ ...record, sha256: await sha256(canonicalJson(record)) }, null, 2)
}

/**
 * Where a run stood at a checkpoint.
 *
 * @throws ConfigError in one line that names the file and what is wrong with it
 */
export async function readCheckpoint(store: RunStore, name: string): Promise<Checkpoint> {
  const path = checkpointPath(name, RECORD_FILE)
  const file = store.nameOf(path)
  const text = await store.readText(path)
  if (text === undefined) throw new ConfigError(`${file}: there is no such file`)
  const { sha256: sum, ...record } = validated(schema, parseJson(text, file), file)
  if (record.step !== stepOf(name)) throw new ConfigError(`${file}: step is ${record.step}, but the folder is ${name}`)
  if (sum !== undefined && sum !== (await sha256(canonicalJson(record))))
    throw new ConfigError(`${file}: its checksum does not fit: the file is damaged`)
  return { ...record, name }
}

/** The names of the checkpoints whose checkpoint.json is valid, oldest first. */
export async function validCheckpoints(store: RunStore): Promise<string[]> {
  const names = await checkpointNames(store)
  const valid = await Promise.all(
    names.map((name) =>
      readCheckpoint(store, name).then(
        () => true,
        () => false,
      ),
    ),
  )
  return names.filter((_, i) => valid[i])
}

/**
 * Checks the files of a checkpoint.
 *
 * @param needed 'resume' needs all files; 'read' does without the state, which old checkpoints lose; or one file by name
 * @throws ConfigError in one line that names the damaged file
 */
export async function checkFiles(
  store: RunStore,
  { name, files }: Checkpoint,
  needed: 'resume' | 'read' | typeof MODEL_FILE | typeof AVERAGE_FILE,
): Promise<void> {
  const all = files ? Object.keys(files) : [MODEL_FILE, STATE_FILE]
  const names = needed === 'resume' || needed === 'read' ? all : [needed]
  for (const one of names) {
    if (one === STATE_FILE && needed === 'read') continue
    const path = checkpointPath(name, one)
    const file = store.nameOf(path)
    const bytes = await store.readBytes(path)
    if (!bytes) throw new ConfigError(`${file}: there is no such file`)
    const expected = files?.[one]
    if (!expected) decodeSafetensors(bytes, file)
    else if (bytes.length !== expected.bytes)
      throw new ConfigError(`${file}: has ${bytes.length} bytes instead of ${expected.bytes}: the file is damaged`)
    else if ((await sha256(bytes)) !== expected.sha256)
      throw new ConfigError(`${file}: its checksum does not fit: the file is damaged`)
  }
}
