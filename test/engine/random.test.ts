import { describe, expect, it } from 'vitest'
import { permutation, philox, Purpose, RandomStream, uniform } from '../../engine/random.js'
import { kolmogorovSmirnov, normalCdf } from '../train/augment/statistics.js'

const hex = (words: Uint32Array) => [...words].map((word) => word.toString(16).padStart(8, '0')).join(' ')

describe('Philox-4x32-10', () => {
  // The known answers published by the authors of the generator.
  it.each([
    [[0, 0], [0, 0, 0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [[0xa4093822, 0x299f31d0], [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ])('key %j, counter %j', (key, counter, answer) => {
    expect(hex(philox(key, counter))).toBe(answer)
  })

  it('maps words to [0, 1) with all 32 bits', () => {
    expect(uniform(0)).toBe(0)
    expect(uniform(0x80000000)).toBe(0.5)
    expect(uniform(0xffffffff)).toBe(1 - 2 ** -32)
  })
})

describe('RandomStream', () => {
  const words = (...place: ConstructorParameters<typeof RandomStream>) => {
    const stream = new RandomStream(...place)
    return Array.from({ length: 9 }, () => stream.word())
  }

  it('gives the same numbers for the same place', () => {
    expect(words(7, Purpose.views, 1, 2, 3)).toEqual(words(7, Purpose.views, 1, 2, 3))
    const stream = new RandomStream(7, Purpose.views, 9, 9, 9)
    stream.word()
    stream.seek(1, 2, 3)
    expect(Array.from({ length: 9 }, () => stream.word())).toEqual(words(7, Purpose.views, 1, 2, 3))
  })

  it('gives other numbers for another seed, purpose or index', () => {
    const places: ConstructorParameters<typeof RandomStream>[] = [
      [7, Purpose.views, 1, 2, 3],
      [8, Purpose.views, 1, 2, 3],
      [7 + 2 ** 32, Purpose.views, 1, 2, 3],
      [7, Purpose.order, 1, 2, 3],
      [7, Purpose.views, 2, 2, 3],
      [7, Purpose.views, 1, 3, 3],
      [7, Purpose.views, 1, 2, 4],
    ]
    const seen = places.flatMap((place) => words(...place))
    expect(new Set(seen).size).toBe(seen.length)
  })

  it('draws uniform and normal numbers, also across neighbouring places', () => {
    const stream = new RandomStream(11, Purpose.weights)
    const along = Array.from({ length: 20_000 }, () => stream.uniform(-2, 5))
    expect(kolmogorovSmirnov(along, (x) => (x + 2) / 7)).toBeLessThan(1.63)
    const across = Array.from({ length: 20_000 }, (_, i) =>
      new RandomStream(11, Purpose.views, 0, i >> 2, i & 3).uniform(),
    )
    expect(kolmogorovSmirnov(across, (x) => x)).toBeLessThan(1.63)
    const normal = Array.from({ length: 20_000 }, () => stream.normal())
    expect(kolmogorovSmirnov(normal, normalCdf)).toBeLessThan(1.63)
  })

  it.each([-1, 0.5, 2 ** 53, Number.NaN])('refuses seed %s', (seed) => {
    expect(() => new RandomStream(seed, Purpose.views)).toThrow(/seed: .* not an integer/)
  })
})

describe('permutation', () => {
  it.each([0, 1, 2, 1000])('visits each of %i images once', (count) => {
    const sorted = [...permutation(3, 4, count)].sort((a, b) => a - b)
    expect(sorted).toEqual(Array.from({ length: count }, (_, i) => i))
  })

  it('depends only on seed and epoch', () => {
    expect(permutation(3, 4, 100)).toEqual(permutation(3, 4, 100))
    expect(permutation(3, 5, 100)).not.toEqual(permutation(3, 4, 100))
    expect(permutation(4, 4, 100)).not.toEqual(permutation(3, 4, 100))
  })

  it('takes every order of four images equally often', () => {
    const counts = new Map<string, number>()
    for (let epoch = 0; epoch < 12_000; epoch++) {
      const order = permutation(1, epoch, 4).join('')
      counts.set(order, (counts.get(order) ?? 0) + 1)
    }
    expect(counts.size).toBe(24)
    const chiSquare = [...counts.values()].reduce((sum, n) => sum + (n - 500) ** 2 / 500, 0)
    expect(chiSquare).toBeLessThan(41.6) // 23 degrees of freedom, 1 %
  })
})
