/** Small images whose views have something in common, so that a network can learn from them. */
import { Purpose, RandomStream } from '../../engine/index.js'
import { fromArrays, type ArrayDataset } from '../../train/data/dataset.js'

/** Images of 10×10 pixels, each with its own colours and slope. */
export function colourfulImages(count: number): ArrayDataset {
  const random = new RandomStream(1, Purpose.subset)
  const images = new Uint8Array(count * 300)
  for (let n = 0; n < count; n++) {
    const colour = [0, 1, 2].map(() => random.integer(200))
    const slope = [random.uniform(-5, 5), random.uniform(-5, 5)]
    for (let i = 0; i < 300; i++)
      images[300 * n + i] = Math.max(
        0,
        colour[i % 3] + slope[0] * Math.floor(i / 30) + slope[1] * (Math.floor(i / 3) % 10),
      )
  }
  return fromArrays({ images, height: 10, width: 10 })
}
