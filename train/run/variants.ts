/** A resumed run uses the variants of its checkpoint, so that it computes the same bits. */
import type { Engine } from '../../engine/index.js'
import { canonicalJson } from '../config/canonical_json.js'
import type { Checkpoint, Progress } from './checkpoint_record.js'

type Compiled = Pick<Progress, 'target' | 'variants'>

const sameTarget = (a: object, b: object): boolean => canonicalJson(a) === canonicalJson(b)

/** Whether two adapters compute the same bits. */
export const sameVariants = (a: Compiled, b: Compiled): boolean =>
  sameTarget(a.target, b.target) && canonicalJson(a.variants) === canonicalJson(b.variants)

/** The variants of a checkpoint, if they are those of this engine's target. */
export const variantsFor = ({ target }: Engine, latest: Checkpoint | undefined): Progress['variants'] =>
  latest && sameTarget(latest.target, target) ? latest.variants : {}

/**
 * Gives an engine the variants of a run, in addition to its own.
 *
 * @returns restores the engine's own table; variants that were measured in the meantime stay in it
 */
export function useVariants(engine: Engine, variants: Progress['variants']): () => void {
  const own = engine.variants
  if (Object.keys(variants).length === 0) return () => undefined
  engine.variants = new Map([...own, ...Object.entries(variants)])
  return () => {
    const measured = [...engine.variants].filter(([key]) => !(key in variants))
    engine.variants = new Map([...measured, ...own])
  }
}
