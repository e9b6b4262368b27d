/** Messages of the library on the command line. */
import { expect, test } from 'vitest'
import { asCommandLine, optionOf } from '../../../engine/node/command.js'

test('options that the library quotes get their dashes', () => {
  expect(optionOf('weightDecay')).toBe('--weight-decay')
  expect(asCommandLine('`viewChunk` 3: must divide the number of views, `views` 4')).toBe(
    '--view-chunk 3: must divide the number of views, --views 4',
  )
})

test('other quotes stay', () => {
  const message = "a.yaml: 'width' is not a number; run `npm run pretrain`"
  expect(asCommandLine(message)).toBe(message)
})
