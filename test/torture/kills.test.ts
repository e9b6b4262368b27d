/** A small share of `npm run torture -- kills`, in places that need no adapter. */
import { expect, test } from 'vitest'
import { attackByKills } from './kills.js'

test.each(['packing pictures', 'downloading', 'unpacking'])(
  '%s survives SIGKILLs: the same files as without, and no remains',
  async (only) => {
    const [place] = await attackByKills({ kills: 2, seed: 1, only }, () => undefined)
    expect(place).toMatchObject({ kills: 2, sameBits: true, remains: [] })
    expect(place.failure).toBeUndefined()
  },
)
