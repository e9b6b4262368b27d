/** CSV tables and TensorBoard events that grow with a run. */
import { expect, test } from 'vitest'
import { parseCsv } from '../../../train/report/csv.js'
import { exportingStore } from '../../../train/report/live_exports.js'
import { appendLine, truncateLines, type StepMetrics } from '../../../train/run/metrics.js'
import { memoryStore } from '../../support/memory_store.js'

const line = (step: number, more: Partial<StepMetrics> = {}): StepMetrics => ({
  ...{ step, steps: 9, epoch: 0, loss: 1 / step, lr: 0.1, imagesPerSecond: 10, seconds: step - 1 },
  ...more,
})

/** The tags of each record of an event file, by searching: names are stored as plain text. */
function recordsOf(bytes: Uint8Array): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const records: string[] = []
  for (let at = 0; at < bytes.length;) {
    const length = Number(view.getBigUint64(at, true))
    records.push(new TextDecoder('latin1').decode(bytes.subarray(at + 12, at + 12 + length)))
    at += 12 + length + 4
  }
  return records
}

test('a table has a row for each line, and grows a column when a line has a new field', async () => {
  const files = new Map<string, Uint8Array>()
  const store = exportingStore(memoryStore(files), { csv: true })
  await Promise.all([1, 2].map((step) => appendLine(store, 'metrics.jsonl', line(step))))
  await appendLine(store, 'metrics.jsonl', line(3, { parts: { invariance: 0.25 } }))
  await appendLine(store, 'online.jsonl', { ...{ step: 3, epoch: 1, top1: 0.5, k: 20, bank: 8, queries: 4, views: 1 } })
  const rows = parseCsv(new TextDecoder().decode(files.get('metrics.csv')))
  expect(rows[0]).toContain('parts.invariance')
  expect(rows.slice(1).map(([step]) => step)).toEqual(['1', '2', '3'])
  expect(rows[3][rows[0].indexOf('parts.invariance')]).toBe('0.25')
  expect(parseCsv(new TextDecoder().decode(files.get('online.csv')))).toHaveLength(2)
  expect([...files.keys()].some((name) => name.includes('tfevents'))).toBe(false)
})

test('a resumed run has one event file with everything that it recorded', async () => {
  const files = new Map<string, Uint8Array>()
  const first = exportingStore(memoryStore(files), { tensorboard: true })
  for (const step of [1, 2, 3]) await appendLine(first, 'metrics.jsonl', line(step))
  const [earlier] = [...files.keys()].filter((name) => name.includes('tfevents'))
  expect(recordsOf(files.get(earlier)!)).toHaveLength(1 + 3)

  // The run resumes from step 2, so the line of step 3 is gone.
  const store = memoryStore(files)
  const text = (await store.readText('metrics.jsonl'))!
  await store.write('metrics.jsonl', `${text.split('\n').slice(0, 2).join('\n')}\n`)
  const second = exportingStore(store, { tensorboard: true })
  for (const step of [3, 4]) await appendLine(second, 'metrics.jsonl', line(step, { parts: { invariance: 1 } }))
  const png = new Uint8Array(24)
  new DataView(png.buffer).setUint32(16, 300)
  new DataView(png.buffer).setUint32(20, 200)
  await second.write('views.png', png)
  const events = [...files.keys()].filter((name) => name.includes('tfevents'))
  expect(events).toHaveLength(1)
  const records = recordsOf(files.get(events[0])!)
  expect(records).toHaveLength(1 + 4 + 1)
  expect(records[0]).toContain('brain.Event:2')
  expect(records[1]).toContain('train/loss')
  expect(records[4]).toContain('train/parts/invariance')
  expect(records[5]).toContain('views')
})

test('lines that a run removes and records again are in the copies once', async () => {
  const files = new Map<string, Uint8Array>()
  const store = exportingStore(memoryStore(files), { csv: true, tensorboard: true })
  for (const step of [1, 2, 3]) await appendLine(store, 'metrics.jsonl', line(step))
  // The device was lost: the run goes on from step 1.
  await truncateLines(store, 'metrics.jsonl', 1)
  for (const step of [2, 3, 4]) await appendLine(store, 'metrics.jsonl', line(step))
  const [, ...rows] = parseCsv(new TextDecoder().decode(files.get('metrics.csv')))
  expect(rows.map(([step]) => step)).toEqual(['1', '2', '3', '4'])
  const events = [...files.keys()].filter((name) => name.includes('tfevents'))
  expect(events).toHaveLength(1)
  expect(recordsOf(files.get(events[0])!)).toHaveLength(1 + 4)
})
