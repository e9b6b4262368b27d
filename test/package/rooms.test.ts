import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { essentialArrows, roomArrows, roomOf } from './imports.js'
import { arrowsDrawn, currentArrows, drawing, drawRooms } from './rooms.js'

test('.github/rooms.svg shows the rooms and imports of today; `npm run rooms` draws it again', async () => {
  const current = (await currentArrows()).map(({ from, to }) => `${from} -> ${to}`).sort()
  expect(arrowsDrawn(readFileSync(drawing, 'utf8')), 'out of date: run `npm run rooms`').toEqual(current)
})

test('a room is a folder at most two levels deep, or the index of a folder of rooms', () => {
  expect(['engine/a.ts', 'engine/ops/products/b.ts', 'train/index.ts', 'models/index.ts'].map(roomOf)).toEqual([
    'engine',
    'engine/ops',
    'train/index.ts',
    'models',
  ])
})

test('imports are summed between rooms; what follows from a chain is left out; cycles are marked', async () => {
  const arrows = roomArrows([
    ['bench/speed/a.ts', 'train/run/b.ts'],
    ['bench/speed/c.ts', 'train/run/b.ts'],
    ['bench/speed/a.ts', 'bench/speed/c.ts'],
    ['train/run/b.ts', 'models/d.ts'],
    ['bench/speed/a.ts', 'models/d.ts'],
    ['train/run/b.ts', 'train/data/e.ts'],
    ['train/data/e.ts', 'train/run/f.ts'],
  ])
  expect(arrows).toHaveLength(5)
  const essential = essentialArrows(arrows)
  expect(essential).toEqual([
    { from: 'bench/speed', to: 'train/run', count: 2, cyclic: false },
    { from: 'train/run', to: 'models', count: 1, cyclic: false },
    { from: 'train/run', to: 'train/data', count: 1, cyclic: true },
    { from: 'train/data', to: 'train/run', count: 1, cyclic: true },
  ])
  const svg = await drawRooms(essential)
  expect(arrowsDrawn(svg)).toEqual(essential.map(({ from, to }) => `${from} -> ${to}`).sort())
  expect(svg.match(/class="edge cyclic"/g)).toHaveLength(2)
})
