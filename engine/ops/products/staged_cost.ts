/** Which tiles the staged variants use, and into how many splits they cut a sum: a model of a wide GPU. */
import type { Constants } from '../../kernel.js'
import type { LoweringContext } from '../../lowering_context.js'
import type { Target } from '../../plan.js'
import type { DType } from '../../value.js'
import { up } from '../common.js'
import { ratesOf } from './cost.js'

/** The part of a product that one workgroup computes. */
export interface Tile {
  readonly rows: number
  readonly columns: number
  readonly constants: Constants
  /** Bytes of workgroup memory. */
  readonly bytes: number
  /** Expected speed, as a share of the family's rate. */
  readonly speed: number
  /** The share of a processor that one workgroup keeps busy. */
  readonly fill: number
}

/** Two kernels, and the tiles for which they are specialised. */
export interface Family {
  readonly name: string
  /** The kernel of convolutions. */
  readonly conv: string
  /** The kernel of weight gradients. */
  readonly weightGradient: string
  readonly tiles: readonly Tile[]
  /** FLOP/s of its largest tile. */
  rate(target: Target): number
  /** The length of a split is a multiple of this. */
  readonly blockDepth: number
  /** Whether the adapter can run the kernels with a left operand of this dtype. */
  offered(target: Target, left: DType): boolean
  /** Whether a tile is worth trying on the adapter; all are by default. */
  suits?(tile: Tile, target: Target): boolean
  /** Constants of the kernels that depend on the adapter. */
  constants?(target: Target): Constants
}

/** The sizes of a product, as the cost model needs them. */
export interface Product {
  readonly rows: number
  readonly columns: number
  /** The number of terms in each sum. */
  readonly depth: number
  readonly batch: number
  /** The largest number of splits that each sum may be cut into. */
  readonly mostSplits: number
}

export const flopsOf = ({ rows, columns, depth, batch }: Product): number => 2 * rows * columns * depth * batch

/** Processors of a wide GPU. On a narrower one all tiles take more rounds, which does not change their order. */
const PROCESSORS = 128
/** Splits are not shorter than this. */
const SHORTEST = 128

const tileCount = ({ rows, columns, batch }: Product, tile: Tile): number =>
  Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns) * batch

/** Splits such that every processor has two tiles. */
function wantedSplits(product: Product, tile: Tile): number {
  const wanted = Math.floor((2 * PROCESSORS) / tileCount(product, tile))
  return Math.max(1, Math.min(wanted, product.mostSplits, Math.floor(product.depth / SHORTEST)))
}

/** The length of each split, and their number. */
export function splitting(product: Product, tile: Tile, blockDepth: number): { each: number; splits: number } {
  const each = up(Math.max(1, Math.ceil(product.depth / wantedSplits(product, tile))), blockDepth)
  return { each, splits: Math.max(1, Math.ceil(product.depth / each)) }
}

/** Estimated seconds: launching, the busiest processor's tiles, then writing and adding the partial sums. */
export function tileCost(product: Product, tile: Tile, family: Family, target: Target): number {
  const splits = wantedSplits(product, tile)
  const rounds = Math.ceil((tileCount(product, tile) * splits) / PROCESSORS)
  const flops = 2 * rounds * PROCESSORS * tile.rows * tile.columns * Math.ceil(product.depth / splits)
  const partial = splits > 1 ? 8 * splits * product.rows * product.columns * product.batch : 0
  const busy = Math.min(1, rounds * tile.fill)
  const { bytes, launch } = ratesOf(target)
  return flops / (family.rate(target) * tile.speed * busy) + partial / bytes + (splits > 1 ? 2 : 1) * launch
}

/** The two cheapest tiles that fit the adapter. With more, too few variants of other families would be measured. */
export function tilesWorthTrying(product: Product, family: Family, target: Target): Tile[] {
  const costs = new Map(family.tiles.map((tile) => [tile, tileCost(product, tile, family, target)]))
  return family.tiles
    .filter((tile) => tile.bytes <= target.maxWorkgroupBytes && (family.suits?.(tile, target) ?? true))
    .sort((a, b) => costs.get(a)! - costs.get(b)!)
    .slice(0, 2)
}

/** One workgroup for each tile and split. Tiles that exceed the x dimension continue along y. */
export function workgroupsFor(
  context: LoweringContext,
  product: Product,
  tile: Tile,
  splits: number,
): [number, number, number] {
  const tiles = tileCount({ ...product, batch: 1 }, tile)
  const y = Math.ceil(tiles / context.target.maxWorkgroupsPerDimension)
  return [Math.ceil(tiles / y), y, product.batch * splits]
}

/**
 * The number of splits whose partial results, f32 of `size` numbers for each matrix of the batch, fit a binding and a
 * dispatch.
 */
export const splitsThatFit = (target: Target, size: number, batch = 1): number =>
  Math.floor(Math.min(target.maxBindingBytes / (4 * size), target.maxWorkgroupsPerDimension) / batch)
