/** Warnings of collapse: features that say too little about their images. */
import { objectives, type ObjectiveName } from '../objectives/index.js'

/** Features have collapsed to few dimensions below this effective rank, or below this share of their width. */
const LEAST_RANK = 2
const LEAST_SHARE = 0.01
/** Features have collapsed to a point above this uniformity; those of an untrained network are at −0.1 or below. */
const MOST_UNIFORMITY = -1e-3
/** Below this alignment the views of an image have the same features up to rounding. */
const LEAST_ALIGNMENT = 1e-6

export interface CollapseFigures {
  effectiveRank: number
  /** Of the features. */
  width: number
  /** Where views were compared. */
  alignment?: number
  uniformity?: number
}

/** A line for the user with the remedy, if features have collapsed. */
export function collapseWarning(
  { effectiveRank: rank, width, alignment, uniformity }: CollapseFigures,
  objective: ObjectiveName,
): string | undefined {
  const { remedy } = objectives[objective]
  const stronger = remedy && `${remedy.stronger} \`${remedy.parameter}\``
  if (rank === 0 || (uniformity !== undefined && uniformity > MOST_UNIFORMITY)) {
    const apart = remedy?.apart ? `${remedy.apart.change} \`${remedy.apart.parameter}\`` : stronger
    const what =
      rank === 0
        ? 'all images have the same features'
        : `all images have almost the same features, uniformity ${uniformity!.toPrecision(2)}`
    return `the features have collapsed (${what}): lower \`lr\`${apart ? `, or ${apart},` : ''} and check that the images differ`
  }
  if (width >= 2 && rank < Math.max(LEAST_RANK, LEAST_SHARE * width))
    return `the features have collapsed (their effective rank is ${rank.toFixed(1)} of ${width}): ${stronger ? `${stronger} or ` : ''}lower \`lr\``
  if (alignment !== undefined && alignment < LEAST_ALIGNMENT)
    return `views of an image have the same features (alignment ${alignment.toPrecision(2)}), so they are no task: use a stronger \`augmentation\`, or lower \`lr\``
  return undefined
}
