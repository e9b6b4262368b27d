import { Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { beginPhase } from '../../../train/cli/phases.js'

describe('phases', () => {
  it('are plain lines without a terminal, at most one every few seconds', () => {
    let text = ''
    const stream = new Writable({
      write: (chunk: Buffer, _, done) => {
        text += chunk.toString()
        done()
      },
    })
    const phase = beginPhase('probing', stream as unknown as NodeJS.WriteStream)
    for (let i = 1; i <= 50; i++) phase.update(i, 50)
    phase.finish()
    expect(text).toMatch(/^probing +0 s\n$/)
  })
})
