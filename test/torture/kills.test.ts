/** A small share of `npm run torture -- kills`, in places that need no adapter. */
import { expect, test } from 'vitest'
import { attackByKills } from './kills.js'

test('packing, downloading and unpacking survive SIGKILLs: the same files as without, and no remains', async () => {
  const only = ['packing pictures', 'downloading', 'unpacking']
  const places = await attackByKills({ kills: 3, seed: 1, only }, () => undefined)
  const expected = { kills: 1, sameBits: true, remains: [] }
  expect(places).toMatchObject(only.map((place) => ({ place, ...expected })))
  expect(places.flatMap(({ failure }) => failure ?? [])).toEqual([])
})
