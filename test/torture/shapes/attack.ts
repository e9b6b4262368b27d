/** Attacks every op and every variant in this process, on one adapter. */
import fc from 'fast-check'
import type { Engine } from '../../../engine/index.js'
import { fnv1a } from '../../support/formula.js'
import type { Family } from './case.js'
import { Engines, targetsFor, type TargetName } from './engines.js'
import { families } from './families/index.js'
import { forced } from './forced.js'
import { runCase } from './run.js'

/** A case as plain data, which `--case` repeats. */
export interface Described {
  family: string
  target: TargetName
  drawn: unknown
}

/** What the cases of one family found. */
export interface Attacked {
  family: string
  cases: number
  /** Cases that the adapter does not offer, such as f16. */
  skipped: number
  /** Cases whose tensors lowering cannot cut for small bindings, which it says in one line. */
  refused: number
  /** The largest error as a share of its bound. */
  worst: number
  worstIn: string
  numbers: number
  unbounded: number
  seconds: number
  ops: string[]
  variants: string[]
  kernels: string[]
  /** Why a case failed, and the smallest such case. */
  failure?: { message: string; repeat?: Described }
}

/**
 * Most time for a family, in milliseconds: for its first case, whose kernels may take a minute to compile, and for each
 * other. What is left serves to make a failing case smaller.
 */
const FIRST_MS = 120_000
const CASE_MS = 1000

const MATRIX_LIMIT = /workgroup storage|exceeds the maximum/

class Attack {
  private readonly engines: Engines

  constructor(own: Engine) {
    this.engines = new Engines(own)
  }

  /** Runs a case and adds to `into`. @throws Error with the reason if it fails */
  async once(family: Family, target: TargetName, drawn: unknown, into: Attacked): Promise<void> {
    const engine = this.engines.of(target)
    const half = family.half?.(drawn) ?? false
    if (half && !engine.target.f16) {
      into.skipped++
      return
    }
    const only = family.variant === undefined ? undefined : { op: family.name.split(' ')[0], variant: family.variant }
    const used = new Set(into.variants)
    try {
      const found = await forced(
        only,
        (variant) => used.add(variant),
        () => runCase(engine, family.make(drawn)),
      )
      into.cases++
      if (found.worst > into.worst) Object.assign(into, { worst: found.worst, worstIn: found.worstIn })
      into.numbers += found.numbers
      into.unbounded += found.unbounded
      into.variants = [...used]
      into.kernels = [...new Set([...into.kernels, ...found.kernels])]
      into.ops = [...new Set([...into.ops, ...found.ops])]
      if (found.failure !== undefined) throw new Error(found.failure)
    } catch (error) {
      if (!isRefusal(error as Error, target)) throw error
      into.refused++
    }
  }

  async family(family: Family, cases: number, seed: number, limitMs: number): Promise<Attacked> {
    const result = empty(family.name)
    const begun = performance.now()
    const target = fc.constantFrom(...targetsFor(family.variant))
    const property = fc.asyncProperty(target, family.drawn, (name, drawn) => this.once(family, name, drawn, result))
    const { failed, counterexample, errorInstance } = await fc.check(property, {
      numRuns: cases,
      // Families with the same kind of data would draw the same shapes otherwise.
      seed: (fnv1a(family.name) + seed) | 0,
      interruptAfterTimeLimit: limitMs,
      // Without this the cases of an interrupted check would count as passed.
      markInterruptAsFailure: true,
    })
    result.seconds = (performance.now() - begun) / 1000
    if (!failed) return result
    if (!counterexample) return { ...result, failure: { message: `not done within ${limitMs / 1000} s` } }
    const [name, drawn] = counterexample
    const message = oneLine((errorInstance as Error).message)
    return { ...result, failure: { message, repeat: { family: family.name, target: name, drawn } } }
  }
}

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim()

/** Lowering says of some tensors that they cannot be cut. Only small bindings reach this here. */
const isRefusal = ({ message }: Error, target: TargetName): boolean =>
  (target.startsWith('bindings') && /binding/.test(message) && !message.includes('\n')) ||
  (target === 'matrix units' && MATRIX_LIMIT.test(message))

const empty = (family: string): Attacked => ({
  ...{ family, cases: 0, skipped: 0, refused: 0, worst: 0, worstIn: '', numbers: 0, unbounded: 0, seconds: 0 },
  ops: [],
  variants: [],
  kernels: [],
})

interface Share {
  cases: number
  seed: number
  chosen?: readonly Family[]
  limitMs?: number
}

/**
 * @param cases of all families together, at least one of each
 * @param chosen all families by default
 * @param limitMs most time for each family
 * @param onResult called after each family
 */
export async function attackShapes(
  engine: Engine,
  { cases, seed, chosen = families, limitMs }: Share,
  onResult: (result: Attacked) => void = () => undefined,
): Promise<Attacked[]> {
  const attack = new Attack(engine)
  const each = Math.max(1, Math.ceil(cases / chosen.length))
  const results: Attacked[] = []
  for (const family of chosen) {
    results.push(await attack.family(family, each, seed, limitMs ?? FIRST_MS + CASE_MS * each))
    onResult(results.at(-1)!)
  }
  return results
}

/** Repeats one case. */
export async function repeatCase(engine: Engine, { family: name, target, drawn }: Described): Promise<Attacked> {
  const family = families.find((f) => f.name === name)
  if (!family) throw new Error(`--case: there is no family '${name}'`)
  const result = empty(name)
  try {
    await new Attack(engine).once(family, target, drawn, result)
    return result
  } catch (error) {
    return {
      ...result,
      failure: { message: oneLine((error as Error).message), repeat: { family: name, target, drawn } },
    }
  }
}
