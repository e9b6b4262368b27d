/** The world of the kernel experiments at each scale, made once. */
import type { Context, Scale } from '../experiment.js'
import { makeWorld, type World, type WorldOptions } from '../world/world.js'

export const WORLDS: Record<Scale, WorldOptions> = {
  tiny: { images: 256, views: 32, size: 8, jump: 0.04 },
  small: { images: 256, views: 32, size: 16, jump: 0.04 },
  full: { images: 256, views: 32, size: 32, jump: 0.04 },
}

const made = new Map<Scale, Promise<World>>()

export function worldOf({ engine, scale, images }: Context): Promise<World> {
  const known = made.get(scale)
  if (known) return known
  const world = images().then((dataset) => makeWorld(engine, dataset, WORLDS[scale]))
  made.set(scale, world)
  world.catch(() => made.delete(scale))
  return world
}

export const describeWorld = (scale: Scale): string => {
  const { images, views, size, jump } = WORLDS[scale]
  return `The world: the first ${images} images of CIFAR-10 with ${views} enumerated views of ${size} px each. An augmentation takes one of an image's views and jumps to a similar picture, with σ² = ${jump} of the mean squared distance. T, its kernel and its eigenfunctions are exact; the constant function is left out.`
}
