/** The objectives by name, with their parameters and the functions that build their losses. */
import { z } from 'zod'
import type { Value } from '../../engine/index.js'
import { automaticLambda, barlowTwins } from './barlow_twins.js'
import { barlowTwinsLeaveOneOut } from './barlow_twins_leave_one_out.js'
import { barlowTwinsOriginal } from './barlow_twins_original.js'
import { byol } from './byol.js'
import { empSsl } from './emp_ssl.js'
import { fastSiam } from './fastsiam.js'
import { frossl } from './frossl.js'
import { lejepa } from './lejepa.js'
import { mmcr } from './mmcr.js'
import { mvInfoNce } from './mv_infonce.js'
import { simclr } from './simclr.js'
import { estimators, spectral } from './spectral.js'
import { vicreg } from './vicreg.js'
import type { LossParts, Sharing } from './views.js'

export { barlowTwins, barlowTwinsLeaveOneOut, barlowTwinsOriginal, byol, simclr, spectral, vicreg }
export { empSsl, fastSiam, frossl, lejepa, mmcr, mvInfoNce }
export type { VicregOptions } from './vicreg.js'
export type { Estimator, SpectralOptions } from './spectral.js'
export type { LossParts, Sharing } from './views.js'

/** Inputs of a loss, each [m·B, d], view-major: row a·B + b is view a of image b. */
export interface Embeddings {
  /** The projections. */
  projection: Value
  /** The projections of the clean images [B, d], where the objective takes them. */
  clean?: Value
  /** The predictor's output for the projections, where the objective needs a predictor. */
  prediction?: Value
  /** The projections by the moving average of the network, where the objective needs a predictor. */
  target?: Value
}

/** The parameters of an objective by name, for example `lambda`. */
export type ObjectiveOptions = Readonly<Record<string, number | boolean | string>>

/** The parameters of an objective, where one may be a scalar [1] of the graph that changes during training. */
export type ChangingOptions = Readonly<Record<string, number | boolean | string | Value>>

/** How to change a parameter to strengthen or weaken the constraint that keeps the features apart. */
export interface Remedy {
  readonly parameter: string
  readonly stronger: 'raise' | 'lower'
  /** Absent where this would not stop a loss from diverging. */
  readonly weaker?: 'raise' | 'lower'
  /** What to change if all images get the same features, where that is something else than `stronger`. */
  readonly apart?: { readonly parameter: string; readonly change: 'raise' | 'lower' }
}

export interface Objective {
  /** Checks the parameters and adds their defaults. */
  readonly schema: z.ZodType<ObjectiveOptions>
  /** Names of the parameters. */
  readonly parameters: readonly string[]
  /** Whether it is defined for two views only. */
  readonly twoViews: boolean
  /**
   * 'predictor': a predictor after the projector. 'target': a predictor, and a moving average of the network that makes the
   * targets.
   */
  readonly needs?: 'predictor' | 'target'
  /** Whether the clean image is one more view, for these parameters. */
  readonly takesClean?: (options: ObjectiveOptions) => boolean
  /** The parameter that may change during training. */
  readonly changing?: string
  /** λ by projector width d and number of views m, where there is a rule for it. */
  readonly automatic?: (width: number, views: number) => number
  /** What to change if features collapse or the loss diverges; absent if the objective has nothing for that. */
  readonly remedy?: Remedy
  /** Whether ranks can share its work by adding d×d products, so that no rank needs the embeddings of another. */
  readonly adds: boolean
  /**
   * @param parts takes the parts of the loss by name, where it has parts
   * @param sharing where it `adds`: the ranks that share the loss
   * @returns the loss, a scalar [1]
   */
  build(embeddings: Embeddings, views: number, options: ChangingOptions, parts?: LossParts, sharing?: Sharing): Value
}

/** A mistake of the caller, in one line that names the parameter and its valid values. */
export class ObjectiveError extends Error {
  override name = 'ObjectiveError'
}

const weight = z.number().min(0)

const raised = (parameter: string): Remedy => ({ parameter, stronger: 'raise', weaker: 'lower' })
const lowered = (parameter: string): Remedy => ({ parameter, stronger: 'lower', weaker: 'raise' })

function define<S extends z.ZodRawShape>(
  shape: S,
  build: (
    embeddings: Embeddings,
    options: z.infer<z.ZodObject<S>> & { views: number },
    parts?: LossParts,
    sharing?: Sharing,
  ) => Value,
  rest: Pick<Objective, 'remedy' | 'needs' | 'changing' | 'takesClean' | 'automatic'> & {
    twoViews?: boolean
    adds?: boolean
  },
): Objective {
  return {
    schema: z.strictObject(shape) as unknown as z.ZodType<ObjectiveOptions>,
    parameters: Object.keys(shape),
    twoViews: rest.twoViews ?? false,
    needs: rest.needs,
    takesClean: rest.takesClean,
    changing: rest.changing,
    automatic: rest.automatic,
    remedy: rest.remedy,
    adds: rest.adds ?? false,
    build: (embeddings, views, options, parts, sharing) =>
      build(
        embeddings,
        { ...options, views } as unknown as z.infer<z.ZodObject<S>> & { views: number },
        parts,
        sharing,
      ),
  }
}

/** The defaults come from the paper; those of the original forms come from their own papers. */
const registry = {
  'barlow-twins': define(
    { lambda: weight.default(0.01) },
    ({ projection }, o, parts, sharing) => barlowTwins(projection, o, parts, sharing),
    { remedy: raised('lambda'), changing: 'lambda', automatic: automaticLambda, adds: true },
  ),
  'barlow-twins-leave-one-out': define(
    { lambda: weight.default(0.01) },
    ({ projection }, o, parts, sharing) => barlowTwinsLeaveOneOut(projection, o, parts, sharing),
    { remedy: raised('lambda'), adds: true },
  ),
  'barlow-twins-original': define(
    { lambda: weight.default(0.0051) },
    ({ projection }, o, parts, sharing) => barlowTwinsOriginal(projection, o, parts, sharing),
    { remedy: raised('lambda'), twoViews: true, adds: true },
  ),
  // All recipes of the paper have μ = λ. λ weighs invariance against orthogonality, which has weight 1, so β ≈ 1 / λ.
  vicreg: define(
    { lambda: weight.default(25) },
    ({ projection }, { views, lambda }, parts) => vicreg(projection, { views, lambda, mu: lambda, epsilon: 0 }, parts),
    // λ is the weight of the variance too, and only the variance keeps embeddings from shrinking to a point.
    { remedy: { ...lowered('lambda'), apart: { parameter: 'lambda', change: 'raise' } } },
  ),
  'vicreg-original': define(
    { lambda: weight.default(25), mu: weight.default(25) },
    ({ projection }, o, parts) => vicreg(projection, { ...o, epsilon: 1e-4 }, parts),
    { remedy: { ...lowered('lambda'), apart: { parameter: 'mu', change: 'raise' } } },
  ),
  // A low temperature gives the nearest images the largest weight, which spreads all images (Wang & Liu 2021).
  simclr: define({ temperature: z.number().positive().default(0.1) }, ({ projection }, o) => simclr(projection, o), {
    remedy: lowered('temperature'),
  }),
  byol: define(
    {
      symmetric: z.boolean().default(true),
      // The value at the first step; it rises to 1 over the run.
      targetRate: z.number().min(0).max(1).default(0.99),
    },
    ({ prediction, target }, o) => {
      if (!prediction || !target)
        throw new ObjectiveError('byol: needs predictions and targets besides the projections')
      return byol(prediction, target, o)
    },
    // Only a slowly moving target keeps the features of BYOL apart.
    { remedy: { parameter: 'targetRate', stronger: 'raise' }, twoViews: true, needs: 'target' },
  ),
  // At β = 1/2 every eigenfunction with a positive eigenvalue is worth learning.
  spectral: define(
    { beta: weight.default(0.5), estimator: z.enum(estimators).default('split') },
    ({ projection, clean }, o, parts) => spectral(projection, clean, o, parts),
    { remedy: raised('beta'), takesClean: ({ estimator }) => estimator !== 'views' },
  ),
  frossl: define({ lambda: weight.default(1) }, ({ projection }, o, parts) => frossl(projection, o, parts), {
    remedy: lowered('lambda'),
  }),
  'emp-ssl': define(
    { lambda: weight.default(200), distortion: z.number().positive().default(0.2) },
    ({ projection }, o, parts) => empSsl(projection, o, parts),
    { remedy: lowered('lambda') },
  ),
  // The norm of the centroids alone spreads the images. Spread of the views with λ is an option of the paper.
  mmcr: define({ lambda: weight.default(0) }, ({ projection }, o, parts) => mmcr(projection, o, parts), {
    remedy: lowered('lambda'),
  }),
  lejepa: define(
    { lambda: z.number().min(0).max(1).default(0.02), slices: z.number().int().min(1).max(4096).default(256) },
    ({ projection }, o, parts) => lejepa(projection, o, parts),
    { remedy: raised('lambda') },
  ),
  'mv-infonce': define(
    { temperature: z.number().positive().default(0.5) },
    ({ projection }, o) => mvInfoNce(projection, o),
    { remedy: lowered('temperature') },
  ),
  fastsiam: define(
    {},
    ({ projection, prediction }, o) => {
      if (!prediction) throw new ObjectiveError('fastsiam: needs predictions besides the projections')
      return fastSiam(prediction, projection, o)
    },
    { needs: 'predictor' },
  ),
} satisfies Record<string, Objective>

export type ObjectiveName = keyof typeof registry

export const objectives: Readonly<Record<ObjectiveName, Objective>> = registry

/** Every parameter that some objective has. */
export const objectiveParameters: readonly string[] = [
  ...new Set(Object.values(objectives).flatMap(({ parameters }) => parameters)),
]

export const objectiveNames = Object.keys(registry) as [ObjectiveName, ...ObjectiveName[]]

/**
 * Checks the parameters and the number of views, and adds defaults.
 *
 * @param values parameters by name; undefined ones take their defaults
 * @throws ObjectiveError that names the objective, the parameter and its valid values
 */
export function resolveObjective(
  name: ObjectiveName,
  views: number,
  values: Readonly<Record<string, unknown>> = {},
): ObjectiveOptions {
  const { schema, parameters, twoViews } = objectives[name]
  if (twoViews && views !== 2)
    throw new ObjectiveError(`\`objective\` ${name} is defined for 2 views, not ${views}: use \`views\` 2`)
  const result = schema.safeParse(Object.fromEntries(Object.entries(values).filter(([, v]) => v !== undefined)))
  if (result.success) return result.data
  const issue = result.error.issues[0]
  if (issue.code === 'unrecognized_keys')
    throw new ObjectiveError(
      `\`objective\` ${name}: has no parameter '${issue.keys[0]}'; it takes ${parameters.join(' and ') || 'none'}`,
    )
  const key = String(issue.path[0])
  throw new ObjectiveError(`\`objective\` ${name}: ${key} ${String(values[key])}: ${issue.message}`)
}
