/** Terms for fine-tuning with few labels: random linear projections, and consistency of features. */
import {
  add,
  affine,
  constant,
  exp,
  gather,
  gradients,
  l2NormalizeRows,
  log,
  logDeterminant,
  matmul,
  maxPool2d,
  mean,
  multiply,
  multiplyWhere,
  filled,
  reshape,
  scale,
  ShapeError,
  show,
  stopGradient,
  subtract,
  square,
  sum,
  type Value,
} from '../../engine/index.js'

/**
 * Random linear projections (Venkatasubramanian et al. 2023, https://arxiv.org/abs/2311.12356): regressions on random subsets
 * of the batch must be the same for predictions and for labels.
 *
 *   loss = (1/M) Σₘ ‖ (XₘᵀXₘ + ε I)⁻¹ Xₘᵀ (Ŷₘ − Yₘ) ‖²_F
 *
 * Xₘ, Ŷₘ, Yₘ are the rows of subset m. ε, which the paper does not have, keeps the inverse finite. Subsets should have more
 * rows than X has columns.
 *
 * @param x inputs of the regressions [B, k], for example features; no gradient flows through them
 * @param predictions [B, c], for example probabilities
 * @param labels [B, c], for example one-hot
 * @param subsets indices of rows, M subsets of S rows each [M, S] u32; draw them anew at each step
 * @param options ridge ε, 1e-3 by default
 * @returns the loss, a scalar [1]
 */
export function randomLinearProjections(
  x: Value,
  predictions: Value,
  labels: Value,
  subsets: Value,
  { ridge = 1e-3 }: { ridge?: number } = {},
): Value {
  const [rows, k] = x.shape
  const classes = predictions.shape[1]
  if (subsets.shape.length !== 2 || predictions.shape[0] !== rows || show(labels.shape) !== show(predictions.shape))
    throw new ShapeError(
      `randomLinearProjections: inputs ${show(x.shape)}, predictions ${show(predictions.shape)}, labels ${show(labels.shape)} and subsets ${show(subsets.shape)} do not fit: all need one row for each image`,
    )
  const [count, size] = subsets.shape
  const index = reshape(subsets, [count * size])
  const X = reshape(gather(stopGradient(x), index), [count, size, k])
  const E = reshape(gather(subtract(predictions, labels), index), [count, size, classes])
  const identity = constant(
    Float32Array.from({ length: k * k }, (_, i) => (i % (k + 1) === 0 ? ridge : 0)),
    [1, k, k],
  )
  const products = add(matmul(X, X, { transposeA: true }), identity)
  // The inverse is the gradient of the log-determinant.
  const [inverse] = gradients(sum(logDeterminant(products)), [products])
  return scale(sum(square(matmul(inverse, matmul(X, E, { transposeA: true })))), 1 / count)
}

export interface FeatureConsistencyOptions {
  /** A weak view counts if its largest class probability is above this, at least 0.5. */
  threshold?: number
  /** Weight of the distance between features. */
  weight?: number
  /** 'apart': strong views keep features of their own; 'together': both views get the same features. */
  direction?: 'apart' | 'together'
}

/**
 * Consistency on images without labels, with a distance of the features (Fan et al. 2023,
 * https://arxiv.org/abs/2112.05825): both views get the same class, while their features go apart or together.
 *
 *   c_b = 1 if the largest of p(weak_b) is above the threshold, with class k_b
 *   loss = (1/B) Σ_b c_b · ( −ln p_k(strong_b) ± μ cos(h(weak_b), h(strong_b)) ),  + for 'apart', − for 'together'
 *
 * No gradient flows through the weak views. The paper's projection of the strong features is left to the caller.
 *
 * @param weak features [B, d] and logits [B, c] of weakly augmented views
 * @param strong the same of strongly augmented views
 * @returns the loss, a scalar [1]
 */
export function featureConsistency(
  weak: { features: Value; logits: Value },
  strong: { features: Value; logits: Value },
  { threshold = 0.95, weight = 1, direction = 'apart' }: FeatureConsistencyOptions = {},
): Value {
  if (!(threshold >= 0.5 && threshold < 1))
    throw new ShapeError(`featureConsistency: the threshold ${threshold} must be at least 0.5 and less than 1`)
  const { shape } = weak.logits
  // At most one class is above a threshold of one half, so this is the class and the confidence at once.
  const chosen = multiplyWhere(filled(shape, 1), affine(stopGradient(softmaxRows(weak.logits)), 1, -threshold))
  const sameClass = scale(sum(multiply(chosen, logSoftmaxRows(strong.logits))), -1 / shape[0])
  const [a, b] = [l2NormalizeRows(stopGradient(weak.features)), l2NormalizeRows(strong.features)]
  const cosines = mean(multiply(sum(multiply(a, b), [1]), sum(chosen, [1])))
  return add(sameClass, scale(cosines, direction === 'apart' ? weight : -weight))
}

/** Softmax of the rows of logits [rows, classes]. */
export const softmaxRows = (logits: Value): Value => exp(logSoftmaxRows(logits))

/** Logarithm of the softmax of the rows of logits [rows, classes], finite however far the logits are apart. */
function logSoftmaxRows(logits: Value): Value {
  const [rows] = logits.shape
  const below = subtract(logits, stopGradient(largestOfRows(logits)))
  return subtract(below, log(reshape(sum(exp(below), [1]), [rows, 1])))
}

/** The largest number of each row of x [rows, columns], as [rows, 1]. */
function largestOfRows(x: Value): Value {
  const [rows, columns] = x.shape
  let largest = reshape(x, [rows, columns, 1, 1])
  // Each pooling leaves half of the numbers.
  while (largest.shape[1] > 1) largest = maxPool2d(largest, { size: 3, stride: 2, padding: 1 })
  return reshape(largest, [rows, 1])
}
