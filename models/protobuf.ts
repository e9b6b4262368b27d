/**
 * Protocol buffers' wire format, writing only: each function encodes one field of a message, and `join` puts the fields
 * of a message together. Format: https://protobuf.dev/programming-guides/encoding.
 */

const VARINT = 0
const I64 = 1
const LENGTH = 2
const I32 = 5

/** A non-negative whole number, seven bits a byte, lowest first. */
function varint(value: number): Uint8Array {
  const out: number[] = []
  for (; value >= 128; value = Math.floor(value / 128)) out.push((value % 128) | 128)
  return Uint8Array.of(...out, value)
}

const key = (field: number, wireType: number): Uint8Array => varint(field * 8 + wireType)

/** A field of type int32, int64, uint32, uint64 or an enum; `value` is a non-negative whole number. */
export const wholeField = (field: number, value: number): Uint8Array => join(key(field, VARINT), varint(value))

/** A field of type double. */
export function doubleField(field: number, value: number): Uint8Array {
  const data = new Uint8Array(8)
  new DataView(data.buffer).setFloat64(0, value, true)
  return join(key(field, I64), data)
}

/** A field of type float. */
export function floatField(field: number, value: number): Uint8Array {
  const data = new Uint8Array(4)
  new DataView(data.buffer).setFloat32(0, value, true)
  return join(key(field, I32), data)
}

/** A field of type bytes, or an encoded message. */
export const bytesField = (field: number, value: Uint8Array): Uint8Array =>
  join(key(field, LENGTH), varint(value.length), value)

/** A field of type string. */
export const textField = (field: number, value: string): Uint8Array =>
  bytesField(field, new TextEncoder().encode(value))

/** Puts the fields of a message together. */
export const join = (...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> => concatenate(parts)

/** All bytes, one part behind another. Unlike `join` it takes any number of parts. */
export function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
