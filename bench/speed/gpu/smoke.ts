/**
 * The first test on an adapter: builds every pipeline of the planned steps, and compares each variant of each product
 * with the plain one, which the tests compare with references in f64, on hashed numbers. Constant numbers would hide a wrong index.
 */
import { cast, Program, variable, type Engine, type Plan, type Variable } from '../../../engine/index.js'
import { lower } from '../../../engine/lower.js'
import { convVariants, weightGradientVariants } from '../../../engine/ops/conv2d.js'
import { matmulVariants } from '../../../engine/ops/products/matmul_variants.js'
import { PLAIN } from '../../../engine/ops/products/work.js'
import { pipelineKey } from '../../../engine/pipelines.js'
import { variantKey, type Dispatch } from '../../../engine/plan.js'
import { apply, show, sizeOf, type Node } from '../../../engine/value.js'
import { counted, markdownTable } from '../../../train/report/text.js'
import { buildNetwork } from '../../../train/step/network.js'
import { describeStep } from '../../../train/step/whole.js'
import { relativeError } from '../../report/statistics.js'
import { figure } from '../../report/text.js'
import type { Measurement, MeasureOptions } from '../measurement.js'
import { randomValues } from '../random_data.js'
import { configOf, nameOf, randomImages, workload, type Workload } from '../workload.js'

/** Largest |a − b| / max |b|. Winograd's transforms lose some bits of f32; matrix units round weights to f16. */
const TOLERANCE = { f32: 5e-4, f16: 1e-2 }
/** Operands are cut along their batch to about this many numbers. */
const NUMBERS = { cpu: 2 ** 17, gpu: 2 ** 20 }

/** One variant of one product. */
export interface Comparison {
  /** The op with its shapes and types. */
  product: string
  variant: string
  /** max |a − b| / max |b| against the plain variant; null where a number is not finite, or where it was not built. */
  error: number | null
  agrees: boolean
  /** Why it was not built. */
  refused?: string
}

export interface SmokeResults {
  workloads: string[]
  pipelines: { built: number; of: number; refused: { kernel: string; reason: string }[] }
  /** Products compared so far, and those of all workloads. */
  products: { done: number; of: number }
  comparisons: Comparison[]
}

/** Variants whose results differ from the plain one's. Nothing that runs after this can be trusted. */
export const disagreements = ({ comparisons }: Pick<SmokeResults, 'comparisons'>): Comparison[] =>
  comparisons.filter(({ agrees, refused }) => !agrees && refused === undefined)

/** Both networks in f32 and in f16; small ones on a software driver. */
export function smokeWorkloads(adapterClass: 'cpu' | 'gpu', f16: boolean, quick: boolean): Workload[] {
  const precisions = f16 ? (['f32', 'f16'] as const) : (['f32'] as const)
  return precisions.flatMap((precision) => {
    if (adapterClass === 'cpu') return [workload({ width: 8, batch: 4, pixels: 8, precision })]
    return [
      workload({ batch: 256, precision }),
      ...(quick ? [] : [workload({ arch: 'resnet50', batch: 64, precision })]),
    ]
  })
}

export async function benchSmoke(options: Omit<MeasureOptions, 'rounds'>): Promise<Measurement> {
  const { engine, origin, quick, only, onMessage } = options
  const workloads = smokeWorkloads(engine.target.adapterClass, engine.target.f16, quick)
  const results = await smoke({ engine, workloads, only, onMessage, save: options.save })
  if (!results.products.of) throw new Error(`--only '${only}': no product has this text in its name`)
  return { kind: 'smoke', origin, results, markdown: smokeMarkdown(results), plots: {} }
}

/** Builds and compares. A variant that the adapter refuses is listed; it is no disagreement. */
export async function smoke(options: {
  engine: Engine
  workloads: readonly Workload[]
  /** Only products whose names contain this text. */
  only?: string
  onMessage(line: string): void
  save?(results: object): Promise<void>
}): Promise<SmokeResults> {
  const { engine, workloads, only = '', onMessage, save } = options
  const dispatches = workloads.flatMap((one) => planOf(engine, one).dispatches)
  const results: SmokeResults = {
    workloads: workloads.map(nameOf),
    pipelines: await buildAll(engine, dispatches),
    products: { done: 0, of: 0 },
    comparisons: [],
  }
  const { built, of, refused } = results.pipelines
  onMessage(`${built} of ${counted(of, 'pipeline')} built`)
  for (const { kernel, reason } of refused) onMessage(`refused: ${kernel}: ${reason}`)
  const products = productsOf(dispatches).filter((node) => productName(node).includes(only))
  results.products.of = products.length
  for (const node of products) {
    const compared = await compare(engine, node)
    results.comparisons.push(...compared)
    results.products.done++
    for (const one of compared) if (!one.agrees) onMessage(describe(one))
    await save?.(results)
  }
  onMessage(
    `${counted(results.comparisons.length, 'variant')} of ${counted(products.length, 'product')} compared with the plain one: ` +
      counted(disagreements(results).length, 'disagreement'),
  )
  return results
}

function planOf(engine: Engine, one: Workload): Plan {
  const config = configOf(one)
  return engine.plan(describeStep(randomImages(engine, one), buildNetwork(config), config).spec)
}

async function buildAll(engine: Engine, dispatches: readonly Dispatch[]): Promise<SmokeResults['pipelines']> {
  const distinct = new Map(dispatches.map((d) => [pipelineKey(d.kernel, d.constants), d]))
  const refused: SmokeResults['pipelines']['refused'] = []
  // One after another, so that an error belongs to its pipeline.
  for (const [key, { kernel, constants }] of distinct)
    await engine
      .guarded(kernel, async () => void (await engine.pipelines.pipeline(kernel, constants)))
      .catch((error: Error) => refused.push({ kernel: key, reason: error.message }))
  return { built: distinct.size - refused.length, of: distinct.size, refused }
}

/** The nodes of all products, each kind once. */
function productsOf(dispatches: readonly Dispatch[]): Node[] {
  const nodes = dispatches.flatMap(({ node }) => (node && /^(conv2d|matmul)/.test(node.op.name) ? [node] : []))
  return [...new Map(nodes.map((node) => [variantKey(node), node])).values()]
}

/** The op with the types and shapes of its operands. */
const productName = ({ op, inputs, attributes }: Node): string =>
  `${op.name} ${inputs.map(({ dtype, shape }) => `${dtype} ${show(shape)}`).join(', ')} ${JSON.stringify(attributes)}`

const variantNames = (op: string): string[] => {
  const lists =
    op === 'matmul' ? [matmulVariants] : op === 'conv2dWeightGradient' ? [weightGradientVariants] : [convVariants]
  return lists.flat().map(({ name }) => name)
}

/** Computes a product by every variant that can, on the same operands. */
async function compare(engine: Engine, node: Node): Promise<Comparison[]> {
  const operands = operandsOf(engine, node)
  const inputs = operands.map((v, i) => (node.inputs[i].dtype === 'f16' ? cast(v, 'f16') : v))
  const [y] = apply(node.op, inputs, node.attributes)
  const spec = { label: node.op.name, outputs: { y: y.dtype === 'f16' ? cast(y, 'f32') : y } }
  const tolerance = [y, ...inputs].some(({ dtype }) => dtype === 'f16') ? TOLERANCE.f16 : TOLERANCE.f32
  const product = productName(node)
  const planBy = (name: string): Plan =>
    lower(spec, { target: engine.target, library: engine.library, variants: { get: () => name } })
  const compute = async (plan: Plan): Promise<Float32Array> => {
    const [program] = await Program.build(engine, [plan])
    try {
      await program.run()
      return await program.read('y')
    } finally {
      program.destroy()
    }
  }
  try {
    const plain = planBy(PLAIN)
    const expected = await compute(plain)
    // A variant that cannot compute a product leaves it to the usual one, whose plan is known then.
    const seen = new Set([signature(plain)])
    const compared: Comparison[] = []
    const usual = planBy('')
    const [chosen = 'the usual one'] = [...usual.tunables.values()].map((tunable) => tunable.chosen)
    const plans = [[chosen, usual] as const, ...variantNames(node.op.name).map((name) => [name, planBy(name)] as const)]
    for (const [variant, plan] of plans) {
      if (seen.has(signature(plan))) continue
      seen.add(signature(plan))
      try {
        const error = relativeError(await compute(plan), expected)
        compared.push({ product, variant, error: Number.isNaN(error) ? null : error, agrees: error <= tolerance })
      } catch (error) {
        engine.check()
        compared.push({ product, variant, error: null, agrees: false, refused: (error as Error).message })
      }
    }
    return compared
  } finally {
    for (const operand of operands) engine.release(operand)
  }
}

const signature = ({ dispatches }: Plan): string =>
  JSON.stringify(
    dispatches.map(({ kernel, constants, params, workgroups }) => [kernel, constants, [...params], workgroups]),
  )

/** Hashed numbers in place of the inputs, with fewer images if the op has a batch. */
function operandsOf(engine: Engine, { op, inputs }: Node): Variable[] {
  const batched = op.batched ?? []
  const rows = batched.length ? inputs[batched[0]].shape[0] : 1
  const share = Math.min(1, NUMBERS[engine.target.adapterClass] / Math.max(...inputs.map(({ size }) => size)))
  const kept = Math.max(1, Math.ceil(rows * share))
  return inputs.map(({ shape }, i) => {
    const used = batched.includes(i) ? [kept, ...shape.slice(1)] : shape
    return variable(`operand ${i}`, used, () => randomValues(sizeOf(used), i + 1))
  })
}

const describe = ({ product, variant, error, refused }: Comparison): string =>
  refused !== undefined
    ? `refused: ${product} by ${variant}: ${refused}`
    : `DISAGREES: ${product} by ${variant}: error ${error === null ? 'not finite' : figure(error)}`

export function smokeMarkdown(results: SmokeResults): string {
  const { pipelines, comparisons, workloads, products } = results
  const families = new Map<string, { compared: number; worst: number; differ: number; refused: number }>()
  for (const { variant, error, agrees, refused } of comparisons) {
    const family = families.get(variant) ?? { compared: 0, worst: 0, differ: 0, refused: 0 }
    families.set(variant, family)
    family.compared++
    family.worst = Math.max(family.worst, error ?? 0)
    if (refused !== undefined) family.refused++
    else if (!agrees) family.differ++
  }
  return [
    '## Variants against the plain one',
    `${workloads.map((name) => `- ${name}`).join('\n')}`,
    `${pipelines.built} of ${counted(pipelines.of, 'pipeline')} built; ${products.done} of ${counted(products.of, 'product')} compared. ` +
      `The error is max |a − b| / max |b| on hashed numbers, at most ${TOLERANCE.f32} with f32 and ${TOLERANCE.f16} with f16.`,
    ...pipelines.refused.map(({ kernel, reason }) => `Refused: ${kernel}: ${reason}`),
    markdownTable(
      ['variant', 'compared', 'largest error', 'differ', 'refused'],
      [...families].map(([name, { compared, worst, differ, refused }]) => [
        name,
        String(compared),
        figure(worst),
        String(differ),
        String(refused),
      ]),
    ),
    ...comparisons.filter(({ agrees }) => !agrees).map(describe),
  ].join('\n\n')
}
