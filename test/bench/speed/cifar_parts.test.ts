/** CIFAR-10 in parts: what is packed comes back, and a damaged part is refused. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { decode, encode } from '../../../bench/speed/gpu/cifar_parts.mjs'
import { randomBytes } from '../../../bench/speed/random_data.js'

const RECORD = 3073

test('records come back as they were: noise, extremes and a ramp', () => {
  const records = new Uint8Array(4 * RECORD)
  records.set(randomBytes(RECORD), 0)
  records.fill(255, RECORD, 2 * RECORD)
  for (let i = 0; i < RECORD; i++) records[3 * RECORD + i] = i % 2 ? 255 - (i % 256) : i
  expect(Buffer.compare(decode(encode(records)), records)).toBe(0)
  expect(() => decode(encode(records).subarray(0, 100))).toThrow()
})

test('unpack names a damaged part and leaves nothing; what is missing is listed', { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'parts-test-'))
  try {
    const unpack = () =>
      promisify(execFile)(process.execPath, ['bench/speed/gpu/cifar_parts.mjs', 'unpack', folder, join(folder, 'out')])
    expect((await unpack()).stdout).toBe(
      'still missing: data_batch_1.bin, data_batch_2.bin, data_batch_3.bin, data_batch_4.bin, data_batch_5.bin, test_batch.bin\n',
    )
    writeFileSync(join(folder, 'test_batch.bin.br'), encode(randomBytes(2 * RECORD)))
    await expect(unpack()).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('checksum is wrong') as string,
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
})
