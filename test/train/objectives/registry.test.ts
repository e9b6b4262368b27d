/** The registry of objectives: parameters, and what callers get wrong. */
import { describe, expect, test } from 'vitest'
import { input } from '../../../engine/index.js'
import { byol, objectiveNames, objectives, resolveObjective } from '../../../train/objectives/index.js'

describe('parameters', () => {
  test('defaults are filled in, undefined counts as absent', () => {
    expect(resolveObjective('barlow-twins', 4)).toEqual({ lambda: 0.01 })
    expect(resolveObjective('vicreg-original', 4, { mu: 20, lambda: undefined })).toEqual({ lambda: 25, mu: 20 })
    expect(resolveObjective('barlow-twins-original', 2)).toEqual({ lambda: 0.0051 })
    expect(resolveObjective('byol', 2, { symmetric: false })).toEqual({ symmetric: false, targetRate: 0.99 })
  })

  test('a mistake is one line that names the objective and the parameter', () => {
    expect(() => resolveObjective('simclr', 2, { lambda: 1 })).toThrow(
      "`objective` simclr: has no parameter 'lambda'; it takes temperature",
    )
    expect(() => resolveObjective('vicreg', 2, { lambda: -1 })).toThrow(/^`objective` vicreg: lambda -1: [^\n]+$/)
    expect(() => resolveObjective('byol', 4)).toThrow('`objective` byol is defined for 2 views, not 4: use `views` 2')
    expect(() => resolveObjective('barlow-twins-original', 3)).toThrow(/2 views, not 3/)
  })
})

describe.each(objectiveNames)('%s', (name) => {
  const { build, twoViews, parameters, remedy } = objectives[name]
  const of = (shape: number[], views: number) => {
    const z = input('z', shape)
    return () => build({ projection: z, prediction: z, target: z }, views, resolveObjective(name, twoViews ? 2 : views))
  }

  test('has the parameter that it tells the user to change', () => {
    if (remedy) expect(parameters).toContain(remedy.parameter)
    // Nothing but the stopped gradient keeps FastSiam from collapsing.
    else expect(name).toBe('fastsiam')
  })

  test('views that do not divide the rows, and a single image, are errors that name the shape', () => {
    expect(of([7, 5], 2)).toThrow(/2 views.*\[7, 5\]/)
    expect(of([2, 5], 2)).toThrow(/2 views of \[2, 5\] are of a single image/)
    expect(of([2, 3, 5], 2)).toThrow(/\[views · batch, width\], not \[2, 3, 5\]/)
  })
})

test('BYOL without a predictor, or with targets of another shape', () => {
  const z = input('z', [6, 5])
  expect(() => objectives.byol.build({ projection: z }, 2, { symmetric: true })).toThrow(/byol.*predictions.*targets/)
  expect(() => byol(z, input('t', [6, 4]), { views: 2, symmetric: true })).toThrow(/\[6, 4\].*\[6, 5\]/)
})
