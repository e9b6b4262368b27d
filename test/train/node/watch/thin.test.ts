import { expect, test } from 'vitest'
import { firstAbove, spread, thin } from '../../../../train/node/watch/thin.js'

test('few points stay as they are', () => {
  expect(thin([1, 2, 3], [5, 4, 6], 4)).toEqual({ x: [1, 2, 3], y: [5, 4, 6] })
  expect(thin([1, 2, 3], [5, 4, 6], 4, 1, 2)).toEqual({ x: [2], y: [4] })
  expect(thin([], [], 4)).toEqual({ x: [], y: [] })
})

test('many points become at most so many, with the ends, every spike and x in order', () => {
  const x = Array.from({ length: 100_000 }, (_, i) => i)
  const y = x.map((i) => Math.sin(i / 1000))
  y[54_321] = 50
  y[77_777] = -50
  const thinned = thin(x, y, 2000)
  expect(thinned.x.length).toBeLessThanOrEqual(2000)
  expect(thinned.x.length).toBeGreaterThan(1900)
  expect(thinned.x).toEqual([...thinned.x].sort((a, b) => a - b))
  expect([thinned.x[0], thinned.x.at(-1)]).toEqual([0, 99_999])
  expect([Math.max(...thinned.y), Math.min(...thinned.y)]).toEqual([50, -50])
  thinned.x.forEach((at, i) => expect(thinned.y[i]).toBe(y[at]))
})

test.each([4, 5, 7, 100])('%i points at most, whatever their number', (most) => {
  for (let count = 0; count < 300; count += 7) {
    const x = Array.from({ length: count }, (_, i) => i)
    const thinned = thin(x, x, most)
    expect(thinned.x.length).toBeLessThanOrEqual(Math.max(most, 0))
    expect(thinned.x.every(Number.isFinite)).toBe(true)
    expect(new Set(thinned.x).size).toBe(thinned.x.length)
  }
})

test('spread items have both ends', () => {
  const items = Array.from({ length: 1000 }, (_, i) => i)
  expect(spread(items, 5)).toEqual([0, 250, 500, 749, 999])
  expect(spread(items.slice(0, 3), 5)).toEqual([0, 1, 2])
})

test('firstAbove', () => {
  expect([0, 1, 1.5, 3, 4].map((limit) => firstAbove([1, 2, 3], limit))).toEqual([0, 1, 1, 3, 3])
})
