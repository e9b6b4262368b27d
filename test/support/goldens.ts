/** Reads the golden files of test/fixtures. */
import { readFileSync } from 'node:fs'

export interface Golden {
  shape: number[]
  data: Float32Array
}

const path = (name: string) => new URL(`../fixtures/${name}`, import.meta.url)

export function readJson<T>(name: string): T {
  return JSON.parse(readFileSync(path(name), 'utf8')) as T
}

/**
 * The tensors of a golden safetensors file by name, all F32. They are parsed here so that the goldens do not depend on
 * the reader under test.
 */
export function readGoldens(name: string): Map<string, Golden> {
  const bytes = new Uint8Array(readFileSync(path(name)))
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true))
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as Record<
    string,
    { shape: number[]; data_offsets: [number, number] }
  >
  return new Map(
    Object.entries(header).map(
      ([
        key,
        {
          shape,
          data_offsets: [from, to],
        },
      ]) => [key, { shape, data: new Float32Array(bytes.buffer.slice(8 + length + from, 8 + length + to)) }],
    ),
  )
}
