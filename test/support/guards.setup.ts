/** After each test: no kernel has written beyond a buffer. */
import { afterEach, expect } from 'vitest'
import { writtenBeyond } from './guards.js'

afterEach(async () => {
  expect(await writtenBeyond(), 'buffers that a kernel has written beyond').toEqual([])
})
