/**
 * The safetensors file format: an 8-byte little-endian header length, a JSON header that names
 * each tensor's dtype, shape and byte range, then the tensors' bytes without gaps.
 * Format: https://huggingface.co/docs/safetensors (section "Format").
 *
 * It maps bytes to tensors and back, without a file system, so it also works in a browser. Typed arrays
 * are used without swapping bytes: the format is little-endian, as are all machines with WebGPU.
 */

const ELEMENT_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const

/** The element types that are read and written here. */
export type SafetensorsDtype = keyof typeof ELEMENT_BYTES

/** One named tensor: `data` holds the elements in row-major order (F16 and BF16 as their 16 bits). */
export interface SafetensorsTensor {
  dtype: SafetensorsDtype
  shape: number[]
  data: ArrayBufferView
}

/** The content of a file; `tensors` is sorted by name. */
export interface SafetensorsFile {
  tensors: Record<string, SafetensorsTensor>
  metadata: Record<string, string>
}

/** The format limits the header to this size, so that a bad file cannot exhaust memory. */
const MAX_HEADER_BYTES = 100_000_000
const METADATA_KEY = '__metadata__'

/**
 * Writes tensors as the bytes of a safetensors file. The same tensors and metadata always give the
 * same bytes: header keys are sorted by name, data by element size (widest first, so that every
 * tensor is aligned) and then by name.
 *
 * @param tensors by name; `data` must hold exactly the bytes that dtype and shape need
 * @param metadata free text by key, stored under `__metadata__`
 * @throws Error that names the tensor, where its bytes do not fit its dtype and shape
 */
export function encodeSafetensors(
  tensors: Record<string, SafetensorsTensor>,
  metadata: Record<string, string> = {},
): Uint8Array {
  const names = Object.keys(tensors).sort()
  for (const name of names) {
    const { dtype, shape, data } = tensors[name]
    if (name === METADATA_KEY) throw new Error(`safetensors: a tensor cannot be named "${METADATA_KEY}"`)
    const expected = byteLengthOf(dtype, shape, `safetensors: tensor "${name}"`)
    if (data.byteLength !== expected) {
      throw new Error(
        `safetensors: tensor "${name}" has ${data.byteLength} bytes, ${dtype} [${shape.join(', ')}] needs ${expected}`,
      )
    }
  }

  const offsets = new Map<string, number>()
  let total = 0
  const layout = [...names].sort(
    (a, b) => ELEMENT_BYTES[tensors[b].dtype] - ELEMENT_BYTES[tensors[a].dtype] || (a < b ? -1 : 1),
  )
  for (const name of layout) {
    offsets.set(name, total)
    total += tensors[name].data.byteLength
  }

  const entries: [string, unknown][] = []
  if (Object.keys(metadata).length > 0) {
    entries.push([
      METADATA_KEY,
      Object.fromEntries(
        Object.keys(metadata)
          .sort()
          .map((key) => [key, metadata[key]]),
      ),
    ])
  }
  for (const name of names) {
    const { dtype, shape, data } = tensors[name]
    const begin = offsets.get(name)!
    entries.push([name, { dtype, shape, data_offsets: [begin, begin + data.byteLength] }])
  }
  // Padding with spaces to a multiple of 8 keeps the data aligned; the format allows it.
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)))
  const headerBytes = Math.ceil(json.length / 8) * 8

  const file = new Uint8Array(8 + headerBytes + total)
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true)
  file.fill(0x20, 8 + json.length, 8 + headerBytes)
  file.set(json, 8)
  for (const name of names) {
    const { data } = tensors[name]
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 8 + headerBytes + offsets.get(name)!)
  }
  return file
}

/**
 * Reads a safetensors file. Tensors are views of `bytes` where the alignment allows it, so the
 * caller must not change `bytes` while it uses them.
 *
 * @param bytes the whole file
 * @param source named in errors, usually the file's path
 * @throws Error in one line, where the file is truncated, its header is invalid, a dtype is unknown, or
 *   byte ranges overlap, leave gaps or exceed the file
 */
export function decodeSafetensors(bytes: Uint8Array, source = 'safetensors file'): SafetensorsFile {
  const fail = (problem: string): never => {
    throw new Error(`${source}: ${problem}`)
  }
  if (bytes.length < 8) fail(`${bytes.length} bytes are too short for a safetensors file`)
  const headerBytes = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
  if (headerBytes > MAX_HEADER_BYTES) fail(`not a safetensors file (its header would have ${headerBytes} bytes)`)
  if (8 + headerBytes > bytes.length) {
    fail(`truncated: the header should end at byte ${8 + headerBytes}, the file has ${bytes.length} bytes`)
  }
  const header = parseHeader(bytes.subarray(8, 8 + headerBytes), fail)

  const body = bytes.subarray(8 + headerBytes)
  const tensors: [string, SafetensorsTensor][] = []
  const ranges: { name: string; begin: number; end: number }[] = []
  let metadata: Record<string, string> = {}
  for (const name of Object.keys(header).sort()) {
    if (name === METADATA_KEY) {
      metadata = checkMetadata(header[name], fail)
      continue
    }
    const { dtype, shape, begin, end } = checkEntry(name, header[name], fail)
    const expected = byteLengthOf(dtype, shape, `${source}: tensor "${name}"`)
    if (end - begin !== expected) {
      fail(`tensor "${name}" has ${end - begin} bytes, ${dtype} [${shape.join(', ')}] needs ${expected}`)
    }
    if (end > body.length) {
      fail(`truncated: tensor "${name}" should end at data byte ${end}, the file has ${body.length} data bytes`)
    }
    ranges.push({ name, begin, end })
    tensors.push([name, { dtype, shape, data: typedArray(dtype, body.subarray(begin, end)) }])
  }

  ranges.sort((a, b) => a.begin - b.begin || a.end - b.end)
  let position = 0
  for (const { name, begin, end } of ranges) {
    if (begin < position) fail(`tensor "${name}" overlaps the tensor before it at data byte ${begin}`)
    if (begin > position) fail(`data bytes ${position} to ${begin} before tensor "${name}" belong to no tensor`)
    position = end
  }
  if (position < body.length) fail(`${body.length - position} data bytes at the end belong to no tensor`)
  return { tensors: Object.fromEntries(tensors), metadata }
}

/**
 * Converts a tensor of any dtype to f32; values that f32 cannot hold are rounded.
 * An aligned F32 tensor is returned as a view, not as a copy.
 */
export function toFloat32(tensor: SafetensorsTensor): Float32Array {
  const elements = typedArray(tensor.dtype, tensor.data)
  switch (tensor.dtype) {
    case 'F32':
      return elements as Float32Array
    case 'F16':
      return Float32Array.from(elements as Uint16Array, float16FromBits)
    case 'BF16': {
      // bfloat16 is the upper half of an f32.
      const bits = Uint32Array.from(elements as Uint16Array, (half) => half << 16)
      return new Float32Array(bits.buffer)
    }
    case 'I64':
    case 'U64': {
      const integers = elements as BigInt64Array | BigUint64Array
      const result = new Float32Array(integers.length)
      for (let i = 0; i < result.length; i++) result[i] = Number(integers[i])
      return result
    }
    default:
      return new Float32Array(elements as Float64Array | Int32Array)
  }
}

/** IEEE 754 binary16: 1 sign, 5 exponent and 10 fraction bits; the value is exact in f32. */
function float16FromBits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0x1f) return fraction ? NaN : sign * Infinity
  if (exponent === 0) return sign * fraction * 2 ** -24
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

type Fail = (problem: string) => never

function parseHeader(bytes: Uint8Array, fail: Fail): Record<string, unknown> {
  let header: unknown
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return fail('not a safetensors file (its header is not JSON)')
  }
  return isObject(header) ? header : fail('not a safetensors file (its header is not a JSON object)')
}

function checkMetadata(value: unknown, fail: Fail): Record<string, string> {
  if (!isObject(value) || Object.values(value).some((text) => typeof text !== 'string')) {
    return fail(`"${METADATA_KEY}" must map keys to text`)
  }
  return value as Record<string, string>
}

function checkEntry(name: string, entry: unknown, fail: Fail) {
  if (!isObject(entry)) return fail(`tensor "${name}" has no description in the header`)
  const { dtype, shape, data_offsets: range } = entry
  if (typeof dtype !== 'string' || !Object.hasOwn(ELEMENT_BYTES, dtype)) {
    return fail(
      `tensor "${name}" has unknown dtype ${JSON.stringify(dtype)} (known: ${Object.keys(ELEMENT_BYTES).join(', ')})`,
    )
  }
  if (!isIndexList(shape)) return fail(`tensor "${name}" has a bad shape ${JSON.stringify(shape)}`)
  if (!isIndexList(range) || range.length !== 2 || range[0] > range[1]) {
    return fail(`tensor "${name}" has bad data_offsets ${JSON.stringify(range)}`)
  }
  return { dtype: dtype as SafetensorsDtype, shape, begin: range[0], end: range[1] }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isIndexList(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0)
}

function byteLengthOf(dtype: SafetensorsDtype, shape: number[], what: string): number {
  if (!Object.hasOwn(ELEMENT_BYTES, dtype)) throw new Error(`${what} has unknown dtype "${dtype}"`)
  const bytes = shape.reduce((product, size) => product * size, ELEMENT_BYTES[dtype])
  if (!isIndexList(shape) || !Number.isSafeInteger(bytes)) {
    throw new Error(`${what} has a bad shape [${shape.join(', ')}]`)
  }
  return bytes
}

const ARRAY_OF = {
  BOOL: Uint8Array,
  U8: Uint8Array,
  I8: Int8Array,
  U16: Uint16Array,
  I16: Int16Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  U32: Uint32Array,
  I32: Int32Array,
  F32: Float32Array,
  U64: BigUint64Array,
  I64: BigInt64Array,
  F64: Float64Array,
} as const

/** The elements in the bytes of `view`. Misaligned tensors, from other writers, are copied. */
function typedArray(dtype: SafetensorsDtype, view: ArrayBufferView): InstanceType<(typeof ARRAY_OF)[SafetensorsDtype]> {
  const elementBytes = ELEMENT_BYTES[dtype]
  const aligned = view.byteOffset % elementBytes === 0
  const buffer = aligned ? view.buffer : view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)
  return new ARRAY_OF[dtype](buffer as ArrayBuffer, aligned ? view.byteOffset : 0, view.byteLength / elementBytes)
}
