/**
 * Counter-based random numbers: Philox-4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1,
 * 2, 3", SC 2011). Every draw is a pure function of a key and a counter, so any view of any step can be drawn again, in
 * any order, and a resumed run needs no generator state.
 */

const MULTIPLIER_0 = 0xd2511f53
const MULTIPLIER_1 = 0xcd9e8d57
const WEYL_0 = 0x9e3779b9
const WEYL_1 = 0xbb67ae85
const ROUNDS = 10

/**
 * The high 32 bits of the 64-bit product of two u32, from 16-bit halves, so that no intermediate result exceeds 2^53.
 */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff
  const aHigh = a >>> 16
  const bLow = b & 0xffff
  const bHigh = b >>> 16
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16)
  const cross = aLow * bHigh + (middle & 0xffff)
  return aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(cross / 65536)
}

/**
 * Philox-4x32-10: four random u32 for a 64-bit key and a 128-bit counter, both with the least significant word first.
 * Fills and returns `out` (4 words), which is a new array by default.
 */
export function philox(
  key: ArrayLike<number>,
  counter: ArrayLike<number>,
  out: Uint32Array = new Uint32Array(4),
): Uint32Array {
  let k0 = key[0] >>> 0
  let k1 = key[1] >>> 0
  let c0 = counter[0] >>> 0
  let c1 = counter[1] >>> 0
  let c2 = counter[2] >>> 0
  let c3 = counter[3] >>> 0
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0)
    const low0 = Math.imul(MULTIPLIER_0, c0) >>> 0
    const high1 = multiplyHigh(MULTIPLIER_1, c2)
    const low1 = Math.imul(MULTIPLIER_1, c2) >>> 0
    c0 = (high1 ^ c1 ^ k0) >>> 0
    c1 = low1
    c2 = (high0 ^ c3 ^ k1) >>> 0
    c3 = low0
    k0 = (k0 + WEYL_0) >>> 0
    k1 = (k1 + WEYL_1) >>> 0
  }
  out[0] = c0
  out[1] = c1
  out[2] = c2
  out[3] = c3
  return out
}

/** Maps a u32 to [0, 1). It uses all 32 bits, and the result is exact in a double. */
export function uniform(word: number): number {
  return (word >>> 0) * 2 ** -32
}

/** What a stream is for. Streams of different purposes never share a key. */
export const Purpose = { views: 1, order: 2, weights: 3, subset: 4, readout: 5 } as const
export type Purpose = (typeof Purpose)[keyof typeof Purpose]

/**
 * A stream of random numbers: a function of (seed, purpose, a, b, c). The three indices are u32, and their meaning
 * depends on the purpose: (epoch, image, view) for views, (epoch) for the data order, (variable) for initial weights. A
 * stream has 2^34 words before it repeats.
 *
 * @throws RangeError if the seed is not an integer in [0, 2^53)
 */
export class RandomStream {
  readonly #key = new Uint32Array(2)
  readonly #counter = new Uint32Array(4)
  readonly #block = new Uint32Array(4)
  #used = 4

  constructor(seed: number, purpose: Purpose, a = 0, b = 0, c = 0) {
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new RangeError(`seed: ${seed} is not an integer from 0 to 2^53 - 1`)
    }
    this.#key[0] = seed % 2 ** 32
    // A seed has at most 53 bits. It uses 21 bits of the key's upper word, and 11 remain for the purpose.
    this.#key[1] = Math.floor(seed / 2 ** 32) + purpose * 2 ** 21
    this.seek(a, b, c)
  }

  /** Moves to the start of the stream with other indices and the same seed and purpose. */
  seek(a: number, b = 0, c = 0): this {
    this.#counter[0] = 0
    this.#counter[1] = c
    this.#counter[2] = b
    this.#counter[3] = a
    this.#used = 4
    return this
  }

  /** The next random u32. */
  word(): number {
    if (this.#used === 4) {
      philox(this.#key, this.#counter, this.#block)
      this.#counter[0]++
      this.#used = 0
    }
    return this.#block[this.#used++]
  }

  /** The next number, uniform in [low, high). */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * uniform(this.word())
  }

  /** The next integer, uniform in [0, count), with a bias below count / 2^32. */
  integer(count: number): number {
    return Math.floor(uniform(this.word()) * count)
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return uniform(this.word()) < probability
  }

  /** The next standard normal number (Box–Muller transform, from two words). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform(this.word())))
    return radius * Math.cos(2 * Math.PI * uniform(this.word()))
  }
}

/** The order in which an epoch visits `count` images: a permutation of 0 … count − 1 (Fisher–Yates shuffle). */
export function permutation(seed: number, epoch: number, count: number): Uint32Array {
  const stream = new RandomStream(seed, Purpose.order, epoch)
  const order = Uint32Array.from({ length: count }, (_, index) => index)
  shuffle(order, stream)
  return order
}

/** Puts the items in a random order, in place: Fisher and Yates's shuffle. */
export function shuffle(items: Uint32Array, stream: RandomStream): void {
  for (let last = items.length - 1; last > 0; last--) {
    const other = stream.integer(last + 1)
    const held = items[last]
    items[last] = items[other]
    items[other] = held
  }
}
