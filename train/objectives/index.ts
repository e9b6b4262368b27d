/** The objectives by name: what a configuration may choose, its parameters, and how its loss is built. */
import { z } from 'zod'
import type { Value } from '../../engine/index.js'
import { barlowTwins } from './barlow_twins.js'
import { barlowTwinsLeaveOneOut } from './barlow_twins_leave_one_out.js'
import { barlowTwinsOriginal } from './barlow_twins_original.js'
import { byol } from './byol.js'
import { simclr } from './simclr.js'
import { spectral } from './spectral.js'
import { vicreg } from './vicreg.js'

export { barlowTwins, barlowTwinsLeaveOneOut, barlowTwinsOriginal, byol, simclr, spectral, vicreg }
export type { VicregOptions } from './vicreg.js'

/** What a loss is taken of, each [m·B, d], view-major: row a·B + b is view a of image b. */
export interface Embeddings {
  /** The projections. */
  projection: Value
  /** With a predictor: what it makes of the projections … */
  prediction?: Value
  /** … and the projections of the moving average of the network. */
  target?: Value
}

/** The parameters of an objective, by name: `lambda`, say. */
export type ObjectiveOptions = Readonly<Record<string, number | boolean>>

/** The same, where a parameter may be a scalar [1] of the graph that changes during training. */
export type ChangingOptions = Readonly<Record<string, number | boolean | Value>>

export interface Objective {
  /** Checks the parameters and fills in their defaults. */
  readonly schema: z.ZodType<ObjectiveOptions>
  /** Names of the parameters. */
  readonly parameters: readonly string[]
  /** Whether it is defined for two views only. */
  readonly twoViews: boolean
  /** A predictor behind the projector, and a moving average of the network that makes the targets. */
  readonly needs?: 'predictor'
  /** The parameter that may change during training. */
  readonly changing?: string
  /** @returns the loss, a scalar [1] */
  build(embeddings: Embeddings, views: number, options: ChangingOptions): Value
}

/** What the caller got wrong, in one line that names the parameter and what it takes. */
export class ObjectiveError extends Error {
  override name = 'ObjectiveError'
}

const weight = z.number().min(0)

function define<S extends z.ZodRawShape>(
  shape: S,
  build: (embeddings: Embeddings, options: z.infer<z.ZodObject<S>> & { views: number }) => Value,
  rest: Pick<Objective, 'needs' | 'changing'> & { twoViews?: boolean } = {},
): Objective {
  return {
    schema: z.strictObject(shape) as unknown as z.ZodType<ObjectiveOptions>,
    parameters: Object.keys(shape),
    twoViews: rest.twoViews ?? false,
    needs: rest.needs,
    changing: rest.changing,
    build: (embeddings, views, options) =>
      build(embeddings, { ...options, views } as unknown as z.infer<z.ZodObject<S>> & { views: number }),
  }
}

/** Defaults are the paper's, and for the original forms those of their papers. */
const registry = {
  'barlow-twins': define({ lambda: weight.default(0.01) }, ({ projection }, o) => barlowTwins(projection, o), {
    changing: 'lambda',
  }),
  'barlow-twins-leave-one-out': define({ lambda: weight.default(0.01) }, ({ projection }, o) =>
    barlowTwinsLeaveOneOut(projection, o),
  ),
  'barlow-twins-original': define(
    { lambda: weight.default(0.0051) },
    ({ projection }, o) => barlowTwinsOriginal(projection, o),
    { twoViews: true },
  ),
  // μ = λ in all of the paper's recipes.
  vicreg: define({ lambda: weight.default(25) }, ({ projection }, { views, lambda }) =>
    vicreg(projection, { views, lambda, mu: lambda, epsilon: 0 }),
  ),
  'vicreg-original': define({ lambda: weight.default(25), mu: weight.default(25) }, ({ projection }, o) =>
    vicreg(projection, { ...o, epsilon: 1e-4 }),
  ),
  simclr: define({ temperature: z.number().positive().default(0.1) }, ({ projection }, o) => simclr(projection, o)),
  byol: define(
    {
      symmetric: z.boolean().default(true),
      // At the first step; it rises to 1 over the run.
      targetRate: z.number().min(0).max(1).default(0.99),
    },
    ({ prediction, target }, o) => {
      if (!prediction || !target) throw new ObjectiveError('byol: needs the predictions and the targets beside z')
      return byol(prediction, target, o)
    },
    { twoViews: true, needs: 'predictor' },
  ),
  // At β = 1/2 every eigenfunction with a positive eigenvalue is worth learning.
  spectral: define({ beta: weight.default(0.5) }, ({ projection }, o) => spectral(projection, o)),
} satisfies Record<string, Objective>

export type ObjectiveName = keyof typeof registry

export const objectives: Readonly<Record<ObjectiveName, Objective>> = registry

/** Every parameter that some objective has. */
export const objectiveParameters: readonly string[] = [
  ...new Set(Object.values(objectives).flatMap(({ parameters }) => parameters)),
]

export const objectiveNames = Object.keys(registry) as [ObjectiveName, ...ObjectiveName[]]

/**
 * Fills in the parameters' defaults and checks them and the number of views.
 *
 * @param given parameters by name; those that are undefined take their defaults
 * @throws ObjectiveError naming the objective, the parameter and what it takes
 */
export function resolveObjective(
  name: ObjectiveName,
  views: number,
  given: Readonly<Record<string, unknown>> = {},
): ObjectiveOptions {
  const { schema, parameters, twoViews } = objectives[name]
  if (twoViews && views !== 2) throw new ObjectiveError(`objective ${name}: is defined for 2 views, not ${views}`)
  const result = schema.safeParse(Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined)))
  if (result.success) return result.data
  const issue = result.error.issues[0]
  if (issue.code === 'unrecognized_keys')
    throw new ObjectiveError(
      `objective ${name}: has no parameter '${issue.keys[0]}'; it takes ${parameters.join(' and ')}`,
    )
  const key = String(issue.path[0])
  throw new ObjectiveError(`objective ${name}: ${key} ${String(given[key])}: ${issue.message}`)
}
