/** Files of CIFAR-10 with a few random images. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Purpose, RandomStream } from '../../engine/index.js'
import { encodeRecords } from '../../train/data/cifar_records.js'

/** Writes training and test files of `count` images each into a new folder. */
export function writeSmallCifar(folder: string, count: number): void {
  mkdirSync(folder, { recursive: true })
  for (const [seed, name] of ['data_batch_1.bin', 'test_batch.bin'].entries()) {
    const stream = new RandomStream(seed + 1, Purpose.subset)
    const pixels = Uint8Array.from({ length: count * 3072 }, () => stream.integer(256))
    const labels = Array.from({ length: count }, (_, i) => i % 10)
    writeFileSync(join(folder, name), encodeRecords(pixels, labels))
  }
}
