/** Whether images have anything to learn from: black or equal pictures break a run, or let it finish on nothing. */
import { ConfigError } from '../config/config.js'
import { imageBytes, readImages, type ImageDataset } from '../data/dataset.js'

/** The number of images that are looked at, evenly over the data set. */
const LOOKED_AT = 128
/** Below this standard deviation, of 255 levels, the images are almost the same everywhere. */
const LEAST_DEVIATION = 1
/** From this share of images of a single colour on there is a warning. */
const MOST_FLAT = 0.1

/**
 * Looks at a sample of the images.
 *
 * @param indices of the images to train on
 * @returns a warning in one line, if many of them are of a single colour, or all of them are almost equal
 * @throws ConfigError in one line if all of them are equal
 */
export async function checkVariation(
  dataset: ImageDataset,
  indices: ArrayLike<number>,
  mostImages = LOOKED_AT,
): Promise<string | undefined> {
  const count = Math.min(mostImages, indices.length)
  if (count < 2) return undefined
  const chosen = Uint32Array.from({ length: count }, (_, i) => indices[Math.floor((i * indices.length) / count)])
  const bytes = imageBytes(dataset)
  const images = new Uint8Array(count * bytes)
  await readImages(dataset, chosen, images)
  const each = Array.from({ length: count }, (_, i) => images.subarray(i * bytes, (i + 1) * bytes))
  const { name, split } = dataset
  const looked = `${count.toLocaleString('en')} ${split} images of ${name}`
  if (each.every((image) => image.every((value, k) => value === each[0][k])))
    throw new ConfigError(
      `\`data\`: ${looked} were looked at, and all are equal (${describe(each[0])}): there is nothing to learn; look at the pictures, and choose others with \`dataDir\``,
    )
  const flat = each.filter((image) => isFlat(image)).length
  if (flat >= MOST_FLAT * count)
    return `${looked} were looked at, and ${flat} of them have a single colour: their views are all the same, and the network learns nothing from them; look at the pictures`
  const deviation = deviationOf(images)
  return deviation < LEAST_DEVIATION
    ? `${looked} were looked at, and they are almost equal: the standard deviation of their pixels is ${deviation.toFixed(2)} of 255; look at the pictures`
    : undefined
}

/** Whether all pixels have the same colour. */
const isFlat = (image: Uint8Array): boolean => image.every((value, k) => value === image[k % 3])

function describe(image: Uint8Array): string {
  if (!isFlat(image)) return 'the same picture'
  const [red, green, blue] = image
  return red + green + blue === 0 ? 'every pixel is black' : `every pixel is (${red}, ${green}, ${blue})`
}

function deviationOf(values: Uint8Array): number {
  let [sum, squares] = [0, 0]
  for (const value of values) {
    sum += value
    squares += value * value
  }
  const mean = sum / values.length
  return Math.sqrt(Math.max(0, squares / values.length - mean * mean))
}
