/**
 * Fine-tuning: trains the backbone and a classifier on labelled images, as in semi-supervised evaluation on 1 % and 10 %
 * of the labels. Learning rates, epochs and the initial classifier follow the Barlow Twins code.
 */
import {
  Purpose,
  RandomStream,
  add,
  constant,
  crossEntropyRows,
  gather,
  gradients,
  input,
  matmul,
  mean,
  permutation,
  scale,
  sgd,
  variable,
  type Assignment,
  type Engine,
  type Program,
  type Variable,
} from '../../engine/index.js'
import type { Backbone } from '../../models/index.js'
import { ROW_FLOATS, drawViews } from '../augment/draw.js'
import type { AugmentationRecipe } from '../augment/recipe.js'
import { augmentViews } from '../augment/views.js'
import { BatchImages } from '../feed/batch_images.js'
import type { ImageDataset } from '../data/dataset.js'
import { featureConsistency, randomLinearProjections, softmaxRows } from '../methods/few_labels.js'
import { extractFeatures } from './features.js'
import { accuracies, applyLinear } from './linear_probe.js'

/** Default number of epochs and of images per step. */
export const FINE_TUNING = { epochs: 20, batch: 256 }
const MOMENTUM = 0.9
/** Learning rates for batches of 256. They scale with the batch and fall to 0 along half a cosine. */
const BACKBONE_RATE = 0.005
const CLASSIFIER_RATE = 0.5
const CLASSIFIER_DEVIATION = 0.01

export interface FineTuneOptions {
  /** The recipe of the pretraining. Its size, crop, flip and normalisation are used, but no colour augmentation. */
  recipe: AugmentationRecipe
  classes: number
  /** Seed of the classifier, the order and the crops. */
  seed: number
  /** Images per step, 256 by default. An epoch drops the last partial batch. */
  batch?: number
  epochs?: number
  /** Weight of the random linear projections between class probabilities and labels; 0 by default. */
  projections?: number
  /** Weight of the consistency between each image and a second view with all augmentations; 0 by default. */
  consistency?: number
  /** Called when the loss of a step is known. */
  onProgress?(done: number, total: number, loss: number): void
}

export interface FineTuned {
  /** Shares of the test images, in [0, 1], read with one clean view each. */
  top1: number
  top5: number
  /** The loss of each step. */
  losses: number[]
}

/** The recipe without colour augmentation. */
const withoutColour = (recipe: AugmentationRecipe): AugmentationRecipe => ({
  ...recipe,
  crops: undefined,
  jitter: { ...recipe.jitter, probability: 0 },
  greyscale: 0,
  blur: { ...recipe.blur, probability: 0 },
  solarize: 0,
})

/**
 * Trains the backbone and a new classifier (cross-entropy, SGD with momentum .9), then classifies the test images. The
 * backbone's Variables hold the tuned weights afterwards.
 *
 * @throws when images have no labels, or when the loss stops being finite
 */
export async function fineTune(
  engine: Engine,
  backbone: Backbone,
  train: ImageDataset,
  test: ImageDataset,
  options: FineTuneOptions,
): Promise<FineTuned> {
  for (const { labels, name, split } of [train, test])
    if (!labels.length) throw new Error(`fine-tuning: the ${split} images of ${name} have no labels`)
  const { recipe: pretrained, seed } = options
  const recipe = withoutColour(pretrained)
  const batch = Math.min(options.batch ?? FINE_TUNING.batch, train.count)
  const images = new BatchImages(engine, train, batch)
  const strong: AugmentationRecipe = { ...pretrained, crops: undefined }
  const tuning = await tuningProgram(engine, backbone, images, { ...options, recipe, strong, batch })
  try {
    const losses = await trainEpochs(tuning.program, images, train, { ...options, recipe, strong, batch })
    const features = await extractFeatures(engine, backbone, test, { recipe, seed })
    const [weight, bias] = [await engine.read(tuning.weight), await engine.read(tuning.bias)]
    const logits = applyLinear(features, backbone.features, weight, bias)
    return { ...accuracies(logits, test.labels), losses }
  } finally {
    tuning.program.destroy()
    images.release()
    for (const v of [tuning.weight, tuning.bias, ...tuning.moments]) engine.release(v)
  }
}

interface Tuning {
  program: Program
  /** [D, classes] */
  weight: Variable
  /** [classes] */
  bias: Variable
  moments: Variable[]
}

/** Random subsets of a batch, and directions of the features, for the random linear projections. */
const [SUBSETS, DIRECTIONS] = [8, 8]
const subsetSize = (batch: number): number => Math.max(1, Math.floor(batch / 2))

const identityOf = (n: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0))

/** What a step of fine-tuning depends on. */
interface StepOptions extends Pick<FineTuneOptions, 'classes' | 'seed' | 'projections' | 'consistency'> {
  recipe: AugmentationRecipe
  /** The recipe of the second view. */
  strong: AugmentationRecipe
  batch: number
}

/**
 * Records one step: inputs `rows`, `labels`, `backbone rate`, `classifier rate`, with projections `subsets`, with consistency
 * `strong`; output `loss`.
 */
async function tuningProgram(
  engine: Engine,
  backbone: Backbone,
  images: BatchImages,
  { recipe, strong, classes, seed, batch, projections = 0, consistency = 0 }: StepOptions,
): Promise<Tuning> {
  const stream = new RandomStream(seed, Purpose.readout)
  const weight = variable('classifier.weight', [backbone.features, classes], () =>
    Float32Array.from({ length: backbone.features * classes }, () => CLASSIFIER_DEVIATION * stream.normal()),
  )
  const bias = variable('classifier.bias', [classes])
  const updates: Assignment[] = []
  const x = augmentViews(images.onDevice, input('rows', [batch, ROW_FLOATS]), recipe)
  const h = backbone.forward(x, { training: true, updates })
  const [logits, labels] = [matmul(h, weight, { bias }), input('labels', [batch], 'u32')]
  let loss = mean(crossEntropyRows(logits, labels))
  if (projections > 0) {
    const subsets = input('subsets', [SUBSETS, subsetSize(batch)], 'u32')
    const direction = Float32Array.from({ length: backbone.features * DIRECTIONS }, () => stream.normal())
    const x = matmul(h, constant(direction, [backbone.features, DIRECTIONS]))
    const right = gather(constant(identityOf(classes), [classes, classes]), labels)
    loss = add(loss, scale(randomLinearProjections(x, softmaxRows(logits), right, subsets), projections))
  }
  if (consistency > 0) {
    // The running statistics are those of the views that are read out.
    const other = backbone.forward(augmentViews(images.onDevice, input('strong', [batch, ROW_FLOATS]), strong), {
      training: true,
    })
    const second = { features: other, logits: matmul(other, weight, { bias }) }
    loss = add(loss, scale(featureConsistency({ features: h, logits }, second), consistency))
  }
  const parameters = backbone.dict.parameters
  const grads = gradients(loss, [...parameters, weight, bias])
  const ofBackbone = sgd(parameters, { momentum: MOMENTUM })
  const ofClassifier = sgd([weight, bias], { momentum: MOMENTUM })
  updates.push(
    ...ofBackbone.updates(grads.slice(0, parameters.length), input('backbone rate', [1])),
    ...ofClassifier.updates(grads.slice(parameters.length), input('classifier rate', [1])),
  )
  const program = await engine.compile({ label: 'fine-tuning', outputs: { loss }, updates })
  return { program, weight, bias, moments: [...ofBackbone.state, ...ofClassifier.state] }
}

/** @returns the loss of each step */
async function trainEpochs(
  program: Program,
  images: BatchImages,
  train: ImageDataset,
  options: FineTuneOptions & StepOptions,
): Promise<number[]> {
  const { recipe, strong, seed, batch, epochs = FINE_TUNING.epochs, onProgress, projections, consistency } = options
  const stream = new RandomStream(seed, Purpose.subset)
  const perEpoch = Math.floor(train.count / batch)
  const total = epochs * perEpoch
  const losses: number[] = []
  const observe = async (reading: Promise<Float32Array>): Promise<void> => {
    const [value] = await reading
    losses.push(value)
    if (!Number.isFinite(value))
      throw new Error(`fine-tuning: the loss is ${value} at step ${losses.length}; the initial weights may be damaged`)
    onProgress?.(losses.length, total, value)
  }
  let before: Promise<Float32Array> | undefined
  let order = new Uint32Array(0)
  for (let step = 0; step < total; step++) {
    const epoch = Math.floor(step / perEpoch)
    const start = (step % perEpoch) * batch
    if (start === 0) order = permutation(seed, epoch, train.count) as Uint32Array<ArrayBuffer>
    const chosen = order.subarray(start, start + batch)
    await images.load(chosen)
    const drawing = { seed, epoch, images: chosen, ...images.onDevice }
    const drawn = drawViews(recipe, { ...drawing, views: 1 })
    const decay = ((batch / FINE_TUNING.batch) * (1 + Math.cos((Math.PI * step) / total))) / 2
    await program.run({
      rows: images.place(drawn, chosen),
      labels: Uint32Array.from(chosen, (i) => train.labels[i]),
      ...(projections && {
        subsets: Uint32Array.from({ length: SUBSETS * subsetSize(batch) }, () => stream.integer(batch)),
      }),
      ...(consistency && {
        strong: images.place(drawViews(strong, { ...drawing, views: 2 }).slice(drawn.length), chosen),
      }),
      'backbone rate': Float32Array.of(BACKBONE_RATE * decay),
      'classifier rate': Float32Array.of(CLASSIFIER_RATE * decay),
    })
    // Await the loss of a step only while the next step runs.
    const reading = program.read('loss')
    if (before) await observe(before)
    before = reading
  }
  if (before) await observe(before)
  return losses
}
