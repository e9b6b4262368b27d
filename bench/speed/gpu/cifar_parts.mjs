// CIFAR-10 in parts that are small enough to carry to a machine without a network, about 17 MB each instead of 31:
//   node bench/speed/gpu/cifar_parts.mjs pack FOLDER PARTS     FOLDER: the official binary files (as npm run data keeps them)
//   node bench/speed/gpu/cifar_parts.mjs unpack PARTS FOLDER   unpacks the parts that are there, and checks each
// A part holds one official file, in the format below; its checksum is the official one. Node alone is needed.
//
// The bytes of a part are compressed by Brotli: the 10,000 labels, then for each of the planes G, R − G and B − G of
// all images the differences from a prediction, modulo 256. The prediction of a pixel is the median of its left
// neighbour W, its upper neighbour N and W + N − NW (as in LOCO-I, Weinberger et al. 1996); outside the image, 0.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib'

/** The official files with their MD5 checksums. */
const FILES = {
  'data_batch_1.bin': '5dd7e06a14cb22eb9f671a540d1b7c25',
  'data_batch_2.bin': '5ea93a67294ea407fff1d09f752e9692',
  'data_batch_3.bin': '942cd6a4bcdd0dd3c604fbe906cb4421',
  'data_batch_4.bin': 'ae636b3ba5c66a11e91e8cb52e771fcb',
  'data_batch_5.bin': '53f37980c15c3d472c316c40844f3f0d',
  'test_batch.bin': '803d5f7f4d78ea53de84dbe85f74fb6d',
}
const SIDE = 32
const PLANE = SIDE * SIDE
const RECORD = 1 + 3 * PLANE
/** Higher ones take minutes for each file and gain 3 %. */
const QUALITY = 9

/** The prediction of pixel i of a plane, from the pixels before it. @param {Uint8Array} plane @param {number} i */
function predicted(plane, i) {
  const left = i % SIDE ? plane[i - 1] : 0
  const up = i >= SIDE ? plane[i - SIDE] : 0
  const corner = i % SIDE && i >= SIDE ? plane[i - SIDE - 1] : 0
  const [low, high] = left < up ? [left, up] : [up, left]
  return corner >= high ? low : corner <= low ? high : left + up - corner
}

/** @param {Uint8Array} file whole records @returns {Buffer} */
export function encode(file) {
  const count = file.length / RECORD
  const bytes = new Uint8Array(file.length)
  const plane = new Uint8Array(PLANE)
  for (let n = 0; n < count; n++) {
    const [label, ...planes] = [0, 1, 1 + PLANE, 1 + 2 * PLANE].map((offset) => n * RECORD + offset)
    const [red, green, blue] = planes
    bytes[n] = file[label]
    for (const [k, [from, less]] of [[green], [red, green], [blue, green]].entries()) {
      const to = count + (k * count + n) * PLANE
      for (let i = 0; i < PLANE; i++) {
        plane[i] = less === undefined ? file[from + i] : file[from + i] - file[less + i]
        bytes[to + i] = plane[i] - predicted(plane, i)
      }
    }
  }
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: QUALITY,
    [constants.BROTLI_PARAM_LGWIN]: 24,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  }
  return brotliCompressSync(bytes, { params })
}

/** @param {Uint8Array} part @returns {Uint8Array} the file @throws Error if it is no part */
export function decode(part) {
  const bytes = brotliDecompressSync(part)
  if (bytes.length % RECORD) throw new Error(`it holds ${bytes.length} bytes, which are no whole records`)
  const count = bytes.length / RECORD
  const file = new Uint8Array(bytes.length)
  const plane = new Uint8Array(PLANE)
  for (let n = 0; n < count; n++) {
    const [red, green, blue] = [0, 1, 2].map((k) => n * RECORD + 1 + k * PLANE)
    file[n * RECORD] = bytes[n]
    for (const [k, [to, plus]] of [[green], [red, green], [blue, green]].entries()) {
      const from = count + (k * count + n) * PLANE
      for (let i = 0; i < PLANE; i++) {
        plane[i] = bytes[from + i] + predicted(plane, i)
        file[to + i] = plus === undefined ? plane[i] : plane[i] + file[plus + i]
      }
    }
  }
  return file
}

/** @param {Uint8Array} bytes */
const md5 = (bytes) => createHash('md5').update(bytes).digest('hex')

/** @param {string} path @param {Uint8Array} bytes */
function write(path, bytes) {
  writeFileSync(`${path}.part`, bytes)
  renameSync(`${path}.part`, path)
}

/** @param {string} from @param {string} to */
function pack(from, to) {
  for (const [name, expected] of Object.entries(FILES)) {
    const file = readFileSync(join(from, name))
    if (md5(file) !== expected) throw new Error(`${join(from, name)} is not the official file`)
    const path = join(to, `${name}.br`)
    write(path, encode(file))
    console.log(`${path}: ${(statSync(path).size / 2 ** 20).toFixed(1)} MiB`)
  }
}

/** @param {string} from @param {string} to */
function unpack(from, to) {
  const missing = []
  for (const [name, expected] of Object.entries(FILES)) {
    const path = join(from, `${name}.br`)
    if (existsSync(join(to, name)) && md5(readFileSync(join(to, name))) === expected) continue
    if (!existsSync(path)) {
      missing.push(name)
      continue
    }
    let file
    try {
      file = decode(readFileSync(path))
    } catch (error) {
      throw new Error(`${path} is damaged: ${/** @type {Error} */ (error).message}`, { cause: error })
    }
    if (md5(file) !== expected) throw new Error(`${path} is damaged: its checksum is wrong`)
    write(join(to, name), file)
    console.log(`${join(to, name)}: the official file`)
  }
  console.log(missing.length ? `still missing: ${missing.join(', ')}` : 'CIFAR-10 is whole')
}

function main() {
  const [command, from, to] = process.argv.slice(2)
  if (!['pack', 'unpack'].includes(command) || !from || !to)
    throw new Error('usage: cifar_parts.mjs pack FOLDER PARTS, or cifar_parts.mjs unpack PARTS FOLDER')
  mkdirSync(to, { recursive: true })
  if (command === 'pack') pack(from, to)
  else unpack(from, to)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main()
  } catch (error) {
    console.error(`error: ${/** @type {Error} */ (error).message}`)
    process.exitCode = 1
  }
}
