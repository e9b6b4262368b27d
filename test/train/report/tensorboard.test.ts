import protobuf from 'protobufjs'
import { expect, test } from 'vitest'
import {
  eventFileName,
  imageRecord,
  scalarsOf,
  scalarsRecord,
  versionRecord,
} from '../../../train/report/tensorboard.js'

/** The fields that we write, with the numbers of TensorBoard's event.proto and summary.proto. */
const { root } = protobuf.parse(`
  syntax = "proto3";
  package tensorboard;
  message Event {
    double wall_time = 1;
    int64 step = 2;
    oneof what {
      string file_version = 3;
      Summary summary = 5;
    }
  }
  message Summary {
    message Image {
      int32 height = 1;
      int32 width = 2;
      int32 colorspace = 3;
      bytes encoded_image_string = 4;
    }
    message Value {
      string tag = 1;
      oneof value {
        float simple_value = 2;
        Image image = 4;
      }
    }
    repeated Value value = 1;
  }
`)
const Event = root.lookupType('tensorboard.Event')

interface Decoded {
  wallTime: number
  step: number
  fileVersion?: string
  summary?: {
    value: {
      tag: string
      simpleValue?: number
      image?: { height: number; width: number; colorspace: number; encodedImageString: Uint8Array }
    }[]
  }
}

/** CRC-32C by division bit by bit, independent of the table of the encoder. */
function crc32c(data: Uint8Array): number {
  let remainder = 0xffffffff
  for (const byte of data)
    for (let bit = 0; bit < 8; bit++) {
      const top = (remainder ^ (byte >>> bit)) & 1
      remainder = (remainder >>> 1) ^ (top ? 0x82f63b78 : 0)
    }
  return ~remainder >>> 0
}

const masked = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0

/** Reads a file as TensorBoard does, and checks every checksum. */
function readEvents(file: Uint8Array): Decoded[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const events: Decoded[] = []
  for (let at = 0; at < file.length;) {
    const length = Number(view.getBigUint64(at, true))
    expect(view.getUint32(at + 8, true)).toBe(masked(crc32c(file.subarray(at, at + 8))))
    const data = file.subarray(at + 12, at + 12 + length)
    expect(view.getUint32(at + 12 + length, true)).toBe(masked(crc32c(data)))
    events.push(Event.toObject(Event.decode(data), { longs: Number }) as Decoded)
    at += 12 + length + 4
  }
  return events
}

test('the checksum of this test gives the known value', () => {
  expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283)
})

test('a file reads back by the published schema', () => {
  // Longer than a one-byte length, with bytes above 127.
  const png = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 7) % 256)
  const file = Buffer.concat([
    versionRecord(1_700_000_000.25),
    scalarsRecord({ wallTime: 1_700_000_001.5, step: 1 }, { 'train/loss': 12.5, 'train/lr': 0.001 }),
    scalarsRecord({ wallTime: 1_700_000_002.5, step: 3_000_000_000 }, { 'größe/ü': -0.5 }),
    imageRecord({ wallTime: 1_700_000_003, step: 300 }, { tag: 'views', png, width: 640, height: 480 }),
  ])
  const [version, scalars, late, image] = readEvents(file)
  expect(version).toEqual({ wallTime: 1_700_000_000.25, fileVersion: 'brain.Event:2' })
  expect(scalars).toEqual({
    wallTime: 1_700_000_001.5,
    step: 1,
    summary: {
      value: [
        { tag: 'train/loss', simpleValue: 12.5 },
        { tag: 'train/lr', simpleValue: Math.fround(0.001) },
      ],
    },
  })
  expect(late.step).toBe(3_000_000_000)
  expect(late.summary!.value).toEqual([{ tag: 'größe/ü', simpleValue: -0.5 }])
  const [value] = image.summary!.value
  expect(value).toMatchObject({ tag: 'views', image: { width: 640, height: 480, colorspace: 4 } })
  expect(Buffer.from(value.image!.encodedImageString).equals(png)).toBe(true)
})

test('values that are not finite stay what they are', () => {
  const [event] = readEvents(scalarsRecord({ wallTime: 1, step: 1 }, { nan: NaN, infinite: Infinity }))
  expect(event.summary!.value.map(({ simpleValue }) => simpleValue)).toEqual([NaN, Infinity])
})

test('a line of metrics gives a scalar for each number and each part of the loss', () => {
  const line = { step: 5, steps: 10, epoch: 1, loss: 3, parts: { invariance: 1, redundancy: 2 }, warning: 'x' }
  expect(scalarsOf('train', line)).toEqual({
    'train/epoch': 1,
    'train/loss': 3,
    'train/parts/invariance': 1,
    'train/parts/redundancy': 2,
  })
})

test('TensorBoard finds the file by its name', () => {
  expect(eventFileName(1_700_000_000.9)).toBe('events.out.tfevents.1700000000.webgpu-ssl')
})
