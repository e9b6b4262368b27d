/** A small share of `npm run torture -- shapes`, and that it finds defects. */
import { describe, expect, test } from 'vitest'
import { Engine } from '../../../engine/index.js'
import { kernelTexts } from '../../../engine/kernel_texts.js'
import { engine } from '../../support/engine.js'
import { attackShapes, repeatCase, type Described } from './attack.js'
import { families } from './families/index.js'

/** The kernels of tiles take long to compile, and have tests of their own. */
const quick = families.filter(({ variant = '' }) => !/^(tiled|matrix)/.test(variant))

test('generated shapes: every op is within its bounds', async () => {
  const results = await attackShapes(await engine(), { cases: quick.length, seed: 1, chosen: quick })
  expect(results.filter(({ failure }) => failure)).toEqual([])
  const sum = (of: (result: (typeof results)[number]) => number): number => results.reduce((n, r) => n + of(r), 0)
  // Most cases run, and nearly all of their numbers have a bound.
  expect(sum(({ cases }) => cases)).toBeGreaterThan(quick.length / 2)
  expect(sum(({ unbounded }) => unbounded)).toBeLessThan(0.01 * sum(({ numbers }) => numbers))
})

describe('a defect', () => {
  const defects: [family: string, kernel: string, text: string, defect: string][] = [
    ['maxPool2d', 'max_pool', 'value > best', 'value < best'],
    ['conv2d by register', 'conv2d', 'params.taps_x', '(params.taps_x - 1)'],
    ['gather', 'gather', 'i < params.count;', 'i + 1u < params.count;'],
    ['l2NormalizeRows', 'normalize_rows', '- x[at + c] * dot', '+ x[at + c] * dot'],
    // An error of a few units in the last place, which a relative tolerance of 1e-5 would not see.
    ['multiply', 'binary', 'v * w', 'v * w * 1.000001'],
  ]

  test.each(defects)('of %s is found, with the case that repeats it', async (name, kernel, text, defect) => {
    const own = await engine()
    const texts = { ...kernelTexts }
    expect(texts[kernel]).toContain(text)
    const wrong = new Engine(own.device, own.info, { ...texts, [kernel]: texts[kernel].replaceAll(text, defect) })
    wrong.waitFor = own.waitFor
    const chosen = families.filter((family) => family.name === name)
    const [{ failure }] = await attackShapes(wrong, { cases: 12, seed: 1, chosen, limitMs: 100_000 })
    expect(failure?.message).toMatch(/ at \d+: \S+, expected \S+ ± /)
    const described = JSON.parse(JSON.stringify(failure!.repeat)) as Described
    expect((await repeatCase(wrong, described)).failure?.message).toBe(failure!.message)
    expect((await repeatCase(own, described)).failure).toBeUndefined()
  })
})
