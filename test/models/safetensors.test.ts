import { describe, expect, test } from 'vitest'
import { decodeSafetensors, encodeSafetensors, toFloat32, type SafetensorsTensor } from '../../models/safetensors.js'

/** A file put together by hand: header text, then data bytes. */
function file(header: string, data: number[]): Uint8Array {
  const text = new TextEncoder().encode(header)
  return Uint8Array.from([text.length & 255, text.length >> 8, 0, 0, 0, 0, 0, 0, ...text, ...data])
}

/** A valid file of one tensor, with parts of its header replaced. */
function oneTensor(entry: Record<string, unknown>, data = [0, 0, 128, 63]): Uint8Array {
  const header = { w: { dtype: 'F32', shape: [1], data_offsets: [0, 4], ...entry } }
  return file(JSON.stringify(header), data)
}

describe('encodeSafetensors', () => {
  test('writes the bytes that the format asks for', () => {
    const bytes = encodeSafetensors(
      {
        b: { dtype: 'U8', shape: [3], data: Uint8Array.of(7, 8, 9) },
        a: { dtype: 'F32', shape: [1, 2], data: Float32Array.of(1, -2) },
      },
      { format: 'pt' },
    )
    const header =
      '{"__metadata__":{"format":"pt"},' +
      '"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},' +
      '"b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}}'
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8)
    expect([...bytes]).toEqual([...file(padded, [0, 0, 128, 63, 0, 0, 0, 192, 7, 8, 9])])
  })

  test('gives the same bytes whatever the order of insertion, and aligns every tensor', () => {
    const wide: SafetensorsTensor = { dtype: 'I64', shape: [], data: BigInt64Array.of(-5n) }
    const narrow: SafetensorsTensor = { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) }
    const middle: SafetensorsTensor = { dtype: 'F32', shape: [2], data: Float32Array.of(0.5, 3) }
    const bytes = encodeSafetensors({ a: narrow, m: middle, z: wide }, { k: '1', j: '2' })
    expect(encodeSafetensors({ z: wide, m: middle, a: narrow }, { j: '2', k: '1' })).toEqual(bytes)
    const { tensors } = decodeSafetensors(bytes)
    expect(Object.keys(tensors)).toEqual(['a', 'm', 'z'])
    // Aligned tensors are views of the file, not copies.
    for (const { data } of Object.values(tensors)) expect(data.buffer).toBe(bytes.buffer)
    expect(tensors.z.data).toEqual(wide.data)
  })

  test('takes views into larger buffers', () => {
    const data = Float32Array.of(9, 1, 2, 9).subarray(1, 3)
    const { tensors } = decodeSafetensors(encodeSafetensors({ w: { dtype: 'F32', shape: [2], data } }))
    expect([...toFloat32(tensors.w)]).toEqual([1, 2])
  })

  test('refuses data that does not fit the shape', () => {
    const data = new Float32Array(5)
    expect(() => encodeSafetensors({ w: { dtype: 'F32', shape: [2, 3], data } })).toThrow(
      'tensor "w" has 20 bytes, F32 [2, 3] needs 24',
    )
    expect(() => encodeSafetensors({ w: { dtype: 'F32', shape: [-5, -1], data } })).toThrow('bad shape [-5, -1]')
    expect(() => encodeSafetensors({ __metadata__: { dtype: 'F32', shape: [5], data } })).toThrow('cannot be named')
  })
})

describe('decodeSafetensors', () => {
  test('round trip of every dtype', () => {
    const tensors: Record<string, SafetensorsTensor> = {
      bool: { dtype: 'BOOL', shape: [2], data: Uint8Array.of(0, 1) },
      u8: { dtype: 'U8', shape: [1], data: Uint8Array.of(255) },
      i8: { dtype: 'I8', shape: [1], data: Int8Array.of(-128) },
      u16: { dtype: 'U16', shape: [1], data: Uint16Array.of(65535) },
      i16: { dtype: 'I16', shape: [1], data: Int16Array.of(-2) },
      f16: { dtype: 'F16', shape: [1], data: Uint16Array.of(0x3c00) },
      bf16: { dtype: 'BF16', shape: [1], data: Uint16Array.of(0x3f80) },
      u32: { dtype: 'U32', shape: [1], data: Uint32Array.of(2 ** 32 - 1) },
      i32: { dtype: 'I32', shape: [1], data: Int32Array.of(-7) },
      f32: { dtype: 'F32', shape: [1, 2, 1], data: Float32Array.of(1.5, NaN) },
      u64: { dtype: 'U64', shape: [1], data: BigUint64Array.of(2n ** 64n - 1n) },
      i64: { dtype: 'I64', shape: [], data: BigInt64Array.of(-1n) },
      f64: { dtype: 'F64', shape: [0, 4], data: new Float64Array(0) },
      ['__proto__']: { dtype: 'U8', shape: [1], data: Uint8Array.of(1) },
    }
    const decoded = decodeSafetensors(encodeSafetensors(tensors, { note: 'ünïcode' }))
    expect(decoded).toEqual({ tensors, metadata: { note: 'ünïcode' } })
    expect(Object.keys(decoded.tensors)).toHaveLength(14)
  })

  test('reads misaligned tensors, as other writers leave them, and files inside larger buffers', () => {
    const header =
      '{"w":{"shape":[1],"data_offsets":[1,5],"dtype":"F32"},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    const bytes = file(header, [42, 0, 0, 128, 63])
    const shifted = new Uint8Array(bytes.length + 3)
    shifted.set(bytes, 3)
    for (const input of [bytes, shifted.subarray(3)]) {
      const { tensors, metadata } = decodeSafetensors(input)
      expect([...toFloat32(tensors.w)]).toEqual([1])
      expect([...toFloat32(tensors.b)]).toEqual([42])
      expect(metadata).toEqual({})
    }
  })

  test.each<[string, Uint8Array, string]>([
    ['empty', new Uint8Array(0), '0 bytes are too short'],
    ['header cut', oneTensor({}).subarray(0, 20), 'truncated: the header should end at byte'],
    ['data cut', oneTensor({}).subarray(0, -1), 'truncated: tensor "w" should end at data byte 4, the file has 3'],
    ['absurd header length', Uint8Array.of(...new Uint8Array(8).fill(255), 0), 'not a safetensors file'],
    ['header not JSON', file('{"w":', []), 'header is not JSON'],
    ['header a list', file('[]', []), 'header is not a JSON object'],
    ['metadata not text', file('{"__metadata__":{"a":1}}', []), '"__metadata__" must map keys to text'],
    ['entry not an object', file('{"w":3}', []), 'tensor "w" has no description'],
    ['unknown dtype', oneTensor({ dtype: 'F8_E4M3' }), 'tensor "w" has unknown dtype "F8_E4M3" (known: '],
    ['dtype from the prototype', oneTensor({ dtype: 'toString' }), 'unknown dtype "toString"'],
    ['negative size', oneTensor({ shape: [-1] }), 'tensor "w" has a bad shape [-1]'],
    ['fractional size', oneTensor({ shape: [0.5] }), 'tensor "w" has a bad shape [0.5]'],
    ['reversed range', oneTensor({ data_offsets: [4, 0] }), 'tensor "w" has bad data_offsets [4,0]'],
    ['missing range', oneTensor({ data_offsets: undefined }), 'tensor "w" has bad data_offsets'],
    ['shape against range', oneTensor({ shape: [2] }), 'tensor "w" has 4 bytes, F32 [2] needs 8'],
    ['gap before', oneTensor({ data_offsets: [2, 6] }, [0, 0, 0, 0, 0, 0]), 'data bytes 0 to 2 before tensor "w"'],
    ['bytes after', oneTensor({}, [0, 0, 0, 0, 1]), '1 data bytes at the end belong to no tensor'],
    [
      'overlap',
      file(
        '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}',
        [1, 2, 3],
      ),
      'tensor "b" overlaps the tensor before it at data byte 1',
    ],
  ])('refuses: %s', (_name, bytes, message) => {
    expect(() => decodeSafetensors(bytes, 'w.safetensors')).toThrow(message)
    expect(() => decodeSafetensors(bytes, 'w.safetensors')).toThrow(/^w\.safetensors: [^\n]+$/)
  })
})

describe('toFloat32', () => {
  test.each<[string, SafetensorsTensor, number[]]>([
    // 1, −2, largest, smallest normal, smallest subnormal, −0, ∞ in IEEE binary16.
    [
      'F16',
      { dtype: 'F16', shape: [7], data: Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x8000, 0x7c00) },
      [1, -2, 65504, 2 ** -14, 2 ** -24, -0, Infinity],
    ],
    ['BF16', { dtype: 'BF16', shape: [3], data: Uint16Array.of(0x3f80, 0xc040, 0xff80) }, [1, -3, -Infinity]],
    ['F64', { dtype: 'F64', shape: [2], data: Float64Array.of(0.1, -4) }, [Math.fround(0.1), -4]],
    ['I64', { dtype: 'I64', shape: [2], data: BigInt64Array.of(-3n, 2n ** 40n) }, [-3, 2 ** 40]],
    ['BOOL', { dtype: 'BOOL', shape: [2], data: Uint8Array.of(1, 0) }, [1, 0]],
    ['raw bytes of an F32', { dtype: 'F32', shape: [1], data: Uint8Array.of(0, 0, 32, 65) }, [10]],
  ])('%s', (_name, tensor, expected) => {
    expect([...toFloat32(tensor)]).toEqual(expected)
  })

  test('NaN in both 16-bit formats', () => {
    expect(toFloat32({ dtype: 'F16', shape: [1], data: Uint16Array.of(0x7e01) })[0]).toBeNaN()
    expect(toFloat32({ dtype: 'BF16', shape: [1], data: Uint16Array.of(0x7fc0) })[0]).toBeNaN()
  })
})
