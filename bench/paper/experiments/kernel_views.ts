/** Claim 1 and 3: the more views, the better the estimate of the kernel and of its eigenspace. */
import { Matrix } from 'ml-matrix'
import { lines, meanPoint } from '../../report/charts.js'
import { meanAndSpread } from '../../report/text.js'
import type { Analysis, Claim, Context, Experiment } from '../experiment.js'
import { eigen, Sampler, type World } from '../world/world.js'
import { describeWorld, worldOf } from './kernel_world.js'

const VIEWS = [2, 4, 8, 16, 32, 64]
/**
 * A further experiment: at up to 64 views the eigenspace is not resolved, because the error of K̂ₘ is larger than the gap
 * between the eigenvalues. With so many views it is smaller.
 */
const MANY = [256, 1024, 4096]
/** Dimensions of the eigenspace, without the constant function. */
const SPACE = 5

/** Least squares of log y on log x. */
export function slope(x: readonly number[], y: readonly number[]): number {
  const [u, v] = [x.map(Math.log), y.map(Math.log)]
  const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length
  const [mu, mv] = [mean(u), mean(v)]
  return u.reduce((s, a, i) => s + (a - mu) * (v[i] - mv), 0) / u.reduce((s, a) => s + (a - mu) ** 2, 0)
}

/** K̂(x, y): the mean of p(y | z) over m drawn views z of x, made symmetric. */
function estimated({ images, count, forward, weights }: World, sampler: Sampler, m: number): Matrix {
  const estimate = Matrix.zeros(images, images)
  const row = new Float64Array(images)
  for (let x = 0; x < images; x++) {
    row.fill(0)
    for (let a = 0; a < m; a++) {
      const z = sampler.ofImageAt(x)
      for (let y = 0; y < images; y++) row[y] += forward[y * count + z] / (images * weights[z]) / m
    }
    estimate.setRow(x, Array.from(row))
  }
  return Matrix.add(estimate, estimate.transpose()).mul(0.5)
}

/** sin² of the principal angles between the eigenspaces, summed, then the root. */
function eigenspaceError(a: Matrix, b: Matrix): number {
  const of = (m: Matrix): Matrix => eigen(m).vectors.subMatrix(0, m.rows - 1, 1, SPACE)
  const products = of(a).transpose().mmul(of(b))
  return Math.sqrt(Math.max(0, SPACE - products.norm('frobenius') ** 2))
}

/** For each m the relative error of the kernel, then for each m that of the eigenspace. */
function errorsOf(world: World, views: readonly number[], seed: number): number[] {
  const { kernel } = world
  const size = kernel.norm('frobenius')
  const pairs = views.map((m) => {
    const estimate = estimated(world, new Sampler(world, seed * 1000 + m), m)
    return [Matrix.sub(estimate, kernel).norm('frobenius') / size, eigenspaceError(estimate, kernel)]
  })
  return [...pairs.map(([error]) => error), ...pairs.map(([, error]) => error)]
}

/** The errors of the kernel and of the eigenspace, [seed][view]. */
interface Errors {
  views: readonly number[]
  kernel: number[][]
  space: number[][]
}

async function errorsBySeed(context: Context, views: readonly number[]): Promise<Errors> {
  const { seeds, figures, scale, onProgress, signal } = context
  const bySeed: number[][] = []
  for (const [i, seed] of seeds.entries()) {
    signal.throwIfAborted()
    const of = { part: 'views', scale, views, space: SPACE, seed }
    bySeed.push(await figures(of, async () => errorsOf(await worldOf(context), views, seed)))
    onProgress(`estimates of the kernel, up to ${views.at(-1)} views`, i + 1, seeds.length)
  }
  return {
    views,
    kernel: bySeed.map((list) => list.slice(0, views.length)),
    space: bySeed.map((list) => list.slice(views.length)),
  }
}

/** The slope must be within ± 0.1 of −½. */
function claim({ views, ...errors }: Errors, which: 'kernel' | 'space'): Claim {
  const what = which === 'kernel' ? '‖K̂ₘ − K‖ / ‖K‖' : `eigenspaces of dimension ${SPACE}, ‖sin Θ‖`
  return {
    statement: `${what}, m = ${views[0]} to ${views.at(-1)}: slope of log error on log m, + ½`,
    unit: '',
    perSeed: errors[which].map((list) => slope(views, list) + 0.5),
    bound: { within: 0.1 },
  }
}

async function run(context: Context): Promise<Analysis> {
  const { scale } = context
  const few = await errorsBySeed(context, VIEWS)
  const many = await errorsBySeed(context, MANY)
  const all = [...VIEWS, ...MANY]
  const joined = (which: 'kernel' | 'space'): number[][] => few[which].map((list, s) => [...list, ...many[which][s]])
  const [kernel, space] = [joined('kernel'), joined('space')]
  const series = (name: string, errors: readonly number[][]) => ({
    name,
    points: all.map((m, i) =>
      meanPoint(
        m,
        errors.map((list) => list[i]),
      ),
    ),
  })
  const guide = (start: number) => all.map((m) => ({ x: m, y: start * Math.sqrt(VIEWS[0] / m) }))
  return {
    claims: [claim(few, 'kernel'), claim(few, 'space'), claim(many, 'space')],
    table: {
      header: ['views m', '‖K̂ₘ − K‖ / ‖K‖', '‖sin Θ‖'],
      rows: all.map((m, i) => [
        String(m),
        meanAndSpread(
          kernel.map((list) => list[i]),
          3,
        ),
        meanAndSpread(
          space.map((list) => list[i]),
          3,
        ),
      ]),
    },
    figures: [],
    plots: [
      {
        name: 'errors',
        title: 'Error of the kernel and of its eigenspace by number of views',
        spec: lines(
          [
            series('kernel', kernel),
            series('eigenspace', space),
            { name: 'slope −½', dashed: true, points: guide(kernel[0][0]) },
          ],
          { x: { title: 'views m of each image', log: true }, y: { title: 'error', log: true } },
        ),
      },
    ],
    notes: [
      describeWorld(scale),
      'K̂ₘ averages over m drawn views of each image, as T is estimated in training; the probability that a view belongs to an image is exact. So its mean is K, and a slope of −½ for the kernel follows from that; for the eigenspace it need not hold.',
      'Whiskers: smallest and largest of the seeds.',
    ],
  }
}

export const kernelViews: Experiment = {
  name: 'kernel-views',
  title: 'More views, a better kernel',
  claim: 'T is estimated by averaging over m augmentations: the more views, the better the estimate.',
  protocol: `m from ${VIEWS[0]} to ${VIEWS.at(-1)}, and in a further experiment up to ${MANY.at(-1)}; the slope of each seed by least squares on log axes; −½ ± 0.1 is right.`,
  seeds: { tiny: 5, small: 5, full: 5 },
  arms: () => [],
  run,
}
