/** Decisions that all ranks take together. Without a collective every function does what one process does alone. */
import type { Collective, Engine, Variable } from '../../engine/index.js'
import { ConfigError } from '../config/config_error.js'

type Ranks = Collective | undefined

/** Whether this process is the one that writes files and talks to the user. */
export const isRoot = (ranks: Ranks): boolean => (ranks?.rank ?? 0) === 0

/**
 * Lets rank 0 work, and gives its result to all ranks. If the work fails, all ranks throw its error.
 *
 * @param work returns what JSON can hold
 */
export async function fromRoot<T>(ranks: Ranks, work: () => Promise<T>): Promise<T> {
  if (!ranks) return work()
  let failure: unknown
  let answer: { value?: T; error?: { message: string; config: boolean } } = {}
  if (isRoot(ranks))
    try {
      answer = { value: await work() }
    } catch (error) {
      failure = error
      answer = { error: { message: (error as Error).message, config: error instanceof ConfigError } }
    }
  const { value, error } = await shareJson(ranks, answer)
  if (failure) throw failure as Error
  if (error) throw new (error.config ? ConfigError : Error)(error.message)
  return value as T
}

/**
 * Lets every rank do its part, rank 0 first: where it fails, for example because a file cannot be written, the others
 * throw its error and do nothing.
 */
export async function fromRootAlone<T>(ranks: Ranks, work: () => Promise<T>): Promise<T> {
  if (!ranks) return work()
  let own: { value: T } | undefined
  await fromRoot(ranks, async () => {
    own = { value: await work() }
  })
  return own ? own.value : work()
}

/** Rank 0's value on all ranks. */
async function shareJson<T>(ranks: Collective, value: T): Promise<T> {
  const bytes = new TextEncoder().encode(isRoot(ranks) ? JSON.stringify(value) : '')
  const [length] = await ranks.broadcast(Float64Array.of(bytes.length))
  const words = new Float64Array(Math.ceil(length / 8))
  new Uint8Array(words.buffer).set(bytes)
  const shared = await ranks.broadcast(words)
  return JSON.parse(new TextDecoder().decode(new Uint8Array(shared.buffer, shared.byteOffset, length))) as T
}

/** Whether any rank says yes. */
export async function anyRank(ranks: Ranks, yes: boolean): Promise<boolean> {
  if (!ranks) return yes
  const [sum] = await ranks.allReduce(Float64Array.of(yes ? 1 : 0))
  return sum > 0
}

/** Gives the values that rank 0 has in Variables to all ranks. */
export async function shareVariables(ranks: Ranks, engine: Engine, variables: readonly Variable[]): Promise<void> {
  if (!ranks) return
  for (const v of variables) {
    const data = await engine.read(v)
    const bits = new Float32Array(data.buffer, data.byteOffset, data.length)
    const shared = await ranks.broadcast(bits)
    engine.write(v, v.dtype === 'u32' ? new Uint32Array(shared.buffer, shared.byteOffset, shared.length) : shared)
  }
  await engine.idle()
}

/**
 * Compares the bits of Variables between the ranks.
 *
 * @throws Error in one line if they differ
 */
export async function refuseDifferences(ranks: Ranks, engine: Engine, variables: readonly Variable[]): Promise<void> {
  if (!ranks) return
  const sums = new Float64Array(variables.length)
  for (const [i, v] of variables.entries()) {
    const data = await engine.read(v)
    let hash = 0x811c9dc5
    for (const word of new Uint32Array(data.buffer, data.byteOffset, data.length))
      hash = Math.imul(hash ^ word, 0x01000193)
    sums[i] = hash >>> 0
  }
  const all = await ranks.allGather(sums)
  const at = all.findIndex((sum, i) => sum !== all[i % sums.length])
  if (at >= 0)
    throw new Error(
      `rank ${Math.floor(at / sums.length)} and rank 0 do not have the same '${variables[at % sums.length].name}': the ranks need the same kind of adapter, driver and version`,
    )
}

/** @throws Error in one line if the ranks' adapters are not of one kind */
export async function refuseMixedAdapters(ranks: Ranks, engine: Engine): Promise<void> {
  if (!ranks) return
  const words = new Float64Array(64)
  new Uint8Array(words.buffer).set(new TextEncoder().encode(engine.description).subarray(0, words.byteLength))
  const all = await ranks.allGather(words)
  const nameOf = (rank: number): string => {
    const bytes = new Uint8Array(all.buffer, all.byteOffset + rank * words.byteLength, words.byteLength)
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0) < 0 ? undefined : bytes.indexOf(0)))
  }
  for (let rank = 1; rank < ranks.size; rank++)
    if (nameOf(rank) !== nameOf(0))
      throw new ConfigError(
        `rank 0 has the adapter ${nameOf(0)}, and rank ${rank} has ${nameOf(rank)}: all ranks need the same kind, choose it with \`adapter\``,
      )
}

/** Lets rank 0 measure variants, so that all ranks use the same ones. @returns restores the engine's own tuner */
export function tuneTogether(ranks: Ranks, engine: Engine): () => void {
  const { tuner } = engine
  if (!ranks || !tuner) return () => undefined
  engine.tuner = async (tunables) => new Map(await fromRoot(ranks, async () => [...(await tuner(tunables))]))
  return () => {
    engine.tuner = tuner
  }
}
