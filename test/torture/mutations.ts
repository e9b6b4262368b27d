/** Damaged copies of valid files, and random bytes. */
import fc from 'fast-check'

type Edit = (bytes: Uint8Array) => Uint8Array

/** Texts that parsers of JSON and YAML stumble over. */
const HOSTILE = [
  '__proto__',
  '"__proto__":{"polluted":1},',
  '__proto__: { polluted: 1 }\n',
  'constructor: { prototype: { polluted: 1 } }\n',
  '"constructor":{"prototype":{"polluted":1}},',
  'constructor.prototype.polluted: [1]\n',
  'null',
  'true',
  '-1',
  '1e999',
  '1e308',
  '9007199254740993',
  '.nan',
  '{}',
  '[]',
  '""',
  '[',
  '{',
  '}',
  ']',
  '[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[',
  '&a [*a]',
  '*a',
  '&a ',
  '"\\z"',
  '"\\ud800"',
  '!!binary aaaa',
  '%YAML 1.1\n---\n',
  '---\n',
  '\t',
  '\n',
  '\r\n',
  '\u0000',
  '\u001b[31m',
  '\u202e',
  '../../',
  '/etc/passwd',
  'toString: 1\n',
  '"toString":1,',
  '<<: *a\n',
  '? [a]\n: 1\n',
  'x'.repeat(5000),
].map((text) => new TextEncoder().encode(text))

const concatenated = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts))
const positionIn = (bytes: Uint8Array, share: number): number => Math.floor(share * bytes.length)
const share = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

/** Changes bytes from a position on. */
const overwrite = (value: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Edit> =>
  fc.tuple(share, value).map(([at, written]) => (bytes) => {
    const copy = bytes.slice()
    const start = positionIn(copy, at)
    copy.set(written.subarray(0, copy.length - start), start)
    return copy
  })

const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.tuple(share, fc.nat(7)).map(([at, bit]) => (bytes: Uint8Array) => {
    const copy = bytes.slice()
    if (copy.length > 0) copy[positionIn(copy, at)] ^= 1 << bit
    return copy
  }),
  overwrite(fc.uint8Array({ minLength: 1, maxLength: 4 })),
  // Sizes and offsets at their limits.
  overwrite(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff).map((value) => new Uint8Array(4).fill(value))),
  share.map((at) => (bytes: Uint8Array) => bytes.slice(0, positionIn(bytes, at))),
  fc.tuple(share, share).map(([a, b]) => (bytes: Uint8Array) => {
    const [from, to] = [positionIn(bytes, Math.min(a, b)), positionIn(bytes, Math.max(a, b))]
    return concatenated(bytes.subarray(0, from), bytes.subarray(to))
  }),
  fc.tuple(share, share).map(([a, b]) => (bytes: Uint8Array) => {
    const [from, to] = [positionIn(bytes, Math.min(a, b)), positionIn(bytes, Math.max(a, b))]
    return concatenated(bytes.subarray(0, to), bytes.subarray(from))
  }),
  fc.tuple(share, fc.constantFrom(...HOSTILE)).map(([at, text]) => (bytes: Uint8Array) => {
    const start = positionIn(bytes, at)
    return concatenated(bytes.subarray(0, start), text, bytes.subarray(start))
  }),
  // A value of JSON or YAML becomes another one.
  fc.tuple(share, fc.constantFrom(...HOSTILE)).map(([at, text]) => (bytes: Uint8Array) => {
    const start = bytes.indexOf(0x3a, positionIn(bytes, at)) + 1
    if (start === 0) return bytes
    const end = bytes.findIndex((byte, i) => i > start && (byte === 0x2c || byte === 0x0a || byte === 0x7d))
    return concatenated(bytes.subarray(0, start), Buffer.from(' '), text, bytes.subarray(end < 0 ? bytes.length : end))
  }),
)

/** Mostly valid files with one to four damages; one in ten is random. */
export const damaged = (valid: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> =>
  fc.oneof(
    {
      weight: 9,
      arbitrary: fc
        .tuple(fc.constantFrom(...valid), fc.array(edit, { minLength: 1, maxLength: 4 }))
        .map(([bytes, edits]) => edits.reduce((edited, change) => change(edited), bytes)),
    },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 600 }) },
  )
