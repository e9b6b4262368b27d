import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { terminalProgress } from '../../../../train/node/data/terminal_progress.js'

test('without a terminal there is one plain line at the start and one at the end', () => {
  const stream = new PassThrough()
  const task = terminalProgress(stream as unknown as NodeJS.WriteStream).begin('converting', 2000, 'images')
  for (let done = 0; done <= 2000; done += 100) task.update(done)
  task.finish()
  expect(String(stream.read())).toBe(
    `converting ${'░'.repeat(12)} 0/2,000 images · 0 %\nconverting ${'█'.repeat(12)} 2,000/2,000 images · 100 %\n`,
  )
})

test('bytes are shown in MB, and more bytes than announced are shown as 100 %', () => {
  const stream = new PassThrough()
  const task = terminalProgress(stream as unknown as NodeJS.WriteStream).begin('downloading', 2_500_000, 'bytes')
  task.update(3_000_000)
  task.finish()
  expect(String(stream.read())).toContain('2.5/2.5 MB · 100 %')
})
