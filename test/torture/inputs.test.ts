/** A small share of `npm run torture -- inputs`. */
import { expect, test } from 'vitest'
import { attackInputs } from './inputs.js'

const cases = Number(process.env.TORTURE_CASES ?? 1500)

test('damaged files are accepted or refused in one line that names them', async () => {
  const results = await attackInputs({ cases, seed: 1 })
  expect(results.filter(({ failure }) => failure !== undefined)).toEqual([])
  // Both outcomes occur: the attacks reach beyond the first check.
  expect(results.reduce((sum, { accepted }) => sum + accepted, 0)).toBeGreaterThan(cases / 50)
  expect(results.reduce((sum, { refused }) => sum + refused, 0)).toBeGreaterThan(cases / 3)
}, 120_000)
