/**
 * What every peer is to the benchmark: a process of its own that prepares a case, gives its result, and then runs it
 * on request. A peer that crashes or hangs loses the case, not the run; only one computes at a time.
 *
 * Requests are lines of JSON on the process's stdin; its answers are lines on stdout that begin with `@`. What else it
 * prints there is its library's own and is passed over.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { decodeSafetensors, encodeSafetensors, toFloat32 } from '../../../models/index.js'
import type { Case, Tensors } from './cases.js'

/** A case that is compiled, with its inputs on the device. */
export interface Prepared {
  /** Does the work `times` times over and returns when the device is done with the last. */
  run(times: number): Promise<void>
  /** The result of the first run; see `resultsOf`. */
  result(): Promise<Tensors>
  /** Device memory that the case takes, in bytes, where the library tells. */
  peakBytes?(): number
  release(): void
}

/** The peer's library has no way to do a case. */
export class Unsupported extends Error {
  override name = 'Unsupported'
}

export interface Peer {
  readonly name: string
  readonly version: string
  /** What it computes on, in its own words. */
  readonly device: string
  /** @throws Unsupported with the reason */
  prepare(c: Case, inputs: Tensors): Promise<Prepared>
}

export type Request =
  { do: 'prepare'; case: Case; inputs: string; result: string } | { do: 'run'; times: number } | { do: 'release' }

/** What `run` answers is seconds for one of the `times`. */
export interface Answer {
  seconds?: number
  peakBytes?: number
  unsupported?: string
  error?: string
}

export interface Hello {
  name: string
  version: string
  device: string
}

const say = (answer: Answer | Hello): void => {
  process.stdout.write(`@${JSON.stringify(answer)}\n`)
}

const oneLine = (error: unknown): string =>
  String(error instanceof Error ? error.message : error)
    .trim()
    .split('\n')[0]

/** The life of a peer's process: opens the library, then answers requests until stdin ends. */
export async function serve(open: () => Promise<Peer>): Promise<never> {
  try {
    const peer = await open()
    say({ name: peer.name, version: peer.version, device: peer.device })
    let prepared: Prepared | undefined
    for await (const line of createInterface({ input: process.stdin })) {
      const request = JSON.parse(line) as Request
      try {
        if (request.do === 'prepare') {
          prepared = await peer.prepare(request.case, readTensors(request.inputs))
          writeTensors(request.result, await prepared.result())
          say({ peakBytes: prepared.peakBytes?.() })
        } else if (!prepared) throw new Error('nothing is prepared')
        else if (request.do === 'run') {
          const started = performance.now()
          await prepared.run(request.times)
          say({ seconds: (performance.now() - started) / 1000 / request.times })
        } else {
          prepared.release()
          prepared = undefined
          say({})
        }
      } catch (error) {
        say(error instanceof Unsupported ? { unsupported: error.message } : { error: oneLine(error) })
      }
    }
  } catch (error) {
    say({ error: oneLine(error) })
  }
  process.exit()
}

/** Tensors of a file, flat. */
export function readTensors(path: string): Tensors {
  const { tensors } = decodeSafetensors(readFileSync(path), path)
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, toFloat32(tensor)]))
}

function writeTensors(path: string, tensors: Tensors): void {
  writeFileSync(
    path,
    encodeSafetensors(
      Object.fromEntries(
        Object.entries(tensors).map(([name, data]) => [name, { dtype: 'F32', shape: [data.length], data }]),
      ),
    ),
  )
}

/** A tensor [a, b, …] with its dimensions in another order, as `order` names them. */
export function permute(data: Float32Array, shape: readonly number[], order: readonly number[]): Float32Array {
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1))
  const turned = order.map((d) => ({ size: shape[d], stride: strides[d] }))
  const out = new Float32Array(data.length)
  let at = 0
  const walk = (depth: number, from: number): void => {
    const { size, stride } = turned[depth]
    for (let i = 0; i < size; i++)
      if (depth === turned.length - 1) out[at++] = data[from + i * stride]
      else walk(depth + 1, from + i * stride)
  }
  walk(0, 0)
  return out
}
