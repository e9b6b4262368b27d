/**
 * The side of a peer's process. Each peer is a process that prepares a case, writes its result, and runs it on request.
 * If a peer crashes or hangs, only its entry in the case is lost. Only one peer computes at a time.
 *
 * Requests are lines of JSON on stdin. Answers are lines of JSON on stdout that begin with `@`; other lines there come
 * from the library and are ignored.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { decodeSafetensors, encodeSafetensors, toFloat32 } from '../../../models/index.js'
import type { Case, Tensors } from './cases.js'

/** A compiled case with its inputs on the device. */
export interface Prepared {
  /** Runs the case `times` times and resolves when the device has finished. */
  run(times: number): Promise<void>
  /** The result of the first run; `resultsOf` names its tensors. */
  result(): Promise<Tensors>
  /** Device memory of the case in bytes, if the library reports it. */
  peakBytes?(): number
  release(): void
}

/** The library of the peer does not support a case. */
export class Unsupported extends Error {
  override name = 'Unsupported'
}

export interface Peer {
  readonly name: string
  readonly version: string
  /** Description of the device, from the library or driver. */
  readonly device: string
  /** @throws Unsupported with the reason */
  prepare(c: Case, inputs: Tensors): Promise<Prepared>
}

export type Request =
  { do: 'prepare'; case: Case; inputs: string; result: string } | { do: 'run'; times: number } | { do: 'release' }

export interface Answer {
  /** Of one repetition; the answer to `run`. */
  seconds?: number
  peakBytes?: number
  unsupported?: string
  error?: string
}

/** The first line of a peer's process. */
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

/** Opens the library, then answers requests until stdin ends. */
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
        } else if (!prepared) throw new Error('no case is prepared')
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

/** The tensors of a safetensors file, without their shapes. */
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

/** Permutes the dimensions of a tensor: dimension i of the result is dimension `order[i]` of `shape`. */
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
