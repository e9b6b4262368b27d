/** Every objective, value and gradient, against PyTorch in f64. */
import { describe, expect, test } from 'vitest'
import { constant, type Value } from '../../../engine/index.js'
import {
  objectiveNames,
  objectives,
  type ObjectiveName,
  type ObjectiveOptions,
} from '../../../train/objectives/index.js'
import { expectClose, runOp } from '../../support/check.js'
import { normalish } from '../../support/formula.js'
import { readGoldens, readJson } from '../../support/goldens.js'

interface Case {
  name: string
  objective: ObjectiveName
  views: number
  batch: number
  width: number
  options: ObjectiveOptions
  loss: number
}

const cases = readJson<Case[]>('objectives.json')
const gradients = readGoldens('objectives.safetensors')

/** Rows of an image, the same in each view, plus half as much noise: as the golden script has them. */
function projections(name: string, { views, batch, width }: Case): Float32Array {
  const images = normalish(`${name}/images`, batch * width)
  const noise = normalish(`${name}/noise`, views * batch * width)
  return Float32Array.from(noise, (n, i) => images[i % images.length] + 0.5 * n)
}

/** The clean images, where the objective takes them. */
const cleanOf = (c: Case): Record<string, Float32Array> =>
  objectives[c.objective].takesClean?.(c.options) ? { clean: projections(`${c.name}/clean`, { ...c, views: 1 }) } : {}

test('every objective has its goldens, for 2, 3 and 8 views where it takes them', () => {
  for (const name of objectiveNames) {
    const views = new Set(cases.filter(({ objective }) => objective === name).map((c) => c.views))
    expect([...views], name).toEqual(objectives[name].twoViews ? [2] : [2, 3, 8])
  }
})

describe('PyTorch', () => {
  test.each(cases.map((c) => [c.name, c] as const))('%s', async (name, c) => {
    const shape = [c.views * c.batch, c.width]
    const t = objectives[c.objective].needs ? projections(`${name}/t`, c) : undefined
    const clean = cleanOf(c)
    const given = { z: projections(`${name}/z`, c), ...clean }
    const shapes: Record<string, number[]> = { z: shape, ...(clean.clean && { clean: [c.batch, c.width] }) }
    // FastSiam's targets are the projections themselves.
    const own = objectives[c.objective].needs === 'predictor'
    const build = ({ z, clean: f }: Record<string, Value>): Value =>
      objectives[c.objective].build(
        {
          projection: own ? constant(t!, shape) : z,
          ...(f && { clean: f }),
          prediction: t && z,
          target: t && constant(t, shape),
        },
        c.views,
        c.options,
      )
    const gpu = await runOp(shapes, build, given, Float32Array.of(1))
    expect(gpu.shape).toEqual([1])
    expectClose('loss', gpu.value, [c.loss], 1e-5)
    expectClose('gradient', gpu.gradients.z, gradients.get(`${name}/grad`)!.data, 1e-4)
    if (clean.clean)
      expectClose('gradient of the clean images', gpu.gradients.clean, gradients.get(`${name}/grad-clean`)!.data, 1e-4)
  })
})
