/**
 * TensorBoard event files: scalars and images by tag and step, as bytes to append to a file.
 *
 * A file is a sequence of TFRecords: length (u64), masked CRC-32C of the length, data, masked CRC-32C of the data,
 * all little-endian. The data of a record is one `Event` message of TensorBoard's event.proto and summary.proto.
 * TensorBoard reads every file whose name contains `tfevents`; the first record must be the version.
 */

import { bytesField, doubleField, floatField, join, textField, wholeField } from '../../models/protobuf.js'

/** When and at which step a record was made. */
export interface EventTime {
  /** Seconds since 1970, with a fraction. */
  wallTime: number
  /** Steps done. */
  step: number
}

export interface EventImage {
  tag: string
  /** A whole PNG file. */
  png: Uint8Array
  /** Pixels. */
  width: number
  height: number
}

/** A name for a file of a run that started at `wallTime` seconds since 1970. */
export const eventFileName = (wallTime: number): string => `events.out.tfevents.${Math.floor(wallTime)}.webgpu-ssl`

/** The first record of a file. */
export const versionRecord = (wallTime: number): Uint8Array<ArrayBuffer> =>
  record(join(doubleField(1, wallTime), textField(3, 'brain.Event:2')))

/** One record with a value for each tag. Values that are not finite are written too: TensorBoard marks them. */
export const scalarsRecord = (time: EventTime, scalars: Readonly<Record<string, number>>): Uint8Array<ArrayBuffer> =>
  summaryRecord(
    time,
    Object.entries(scalars).map(([tag, value]) => join(textField(1, tag), floatField(2, value))),
  )

/** One record with an image. */
export function imageRecord(time: EventTime, { tag, png, width, height }: EventImage): Uint8Array<ArrayBuffer> {
  const RGBA = 4
  const image = join(wholeField(1, height), wholeField(2, width), wholeField(3, RGBA), bytesField(4, png))
  return summaryRecord(time, [join(textField(1, tag), bytesField(4, image))])
}

/**
 * The scalars of one line of a run's files, by tag: every number but `step` and `steps`, and `parts` each by its name.
 *
 * @param group first part of the tags, such as `train`: `loss` becomes `train/loss`
 */
export function scalarsOf(group: string, line: object): Record<string, number> {
  const scalars: Record<string, number> = {}
  for (const [name, value] of Object.entries(line)) {
    if (typeof value === 'number' && name !== 'step' && name !== 'steps') scalars[`${group}/${name}`] = value
    if (name === 'parts')
      for (const [part, amount] of Object.entries((value ?? {}) as Record<string, number>))
        scalars[`${group}/parts/${part}`] = amount
  }
  return scalars
}

/** Each of `values` is an encoded `Summary.Value`. */
function summaryRecord({ wallTime, step }: EventTime, values: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const summary = join(...values.map((value) => bytesField(1, value)))
  return record(join(doubleField(1, wallTime), wholeField(2, step), bytesField(5, summary)))
}

/** Frames one message as a TFRecord. */
function record(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const framed = new Uint8Array(12 + message.length + 4)
  const view = new DataView(framed.buffer)
  view.setBigUint64(0, BigInt(message.length), true)
  view.setUint32(8, maskedCrc32c(framed.subarray(0, 8)), true)
  framed.set(message, 12)
  view.setUint32(12 + message.length, maskedCrc32c(framed.subarray(12, 12 + message.length)), true)
  return framed
}

/** CRC-32C (Castagnoli), reflected polynomial 0x82f63b78. */
const table = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0x82f63b78 : n >>> 1
  return n
})

/** TFRecord's mask keeps the checksum of data that holds checksums useful: rotate right by 15, add a constant. */
function maskedCrc32c(data: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of data) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8)
  crc = ~crc >>> 0
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}
