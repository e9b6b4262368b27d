/** Memory of large pretraining steps on large GPUs, by planning alone: no device is needed. */
import { kernelTexts, KernelLibrary, type Target } from '../../engine/index.js'
import { lower } from '../../engine/lower.js'
import { stepBytes, type Room } from '../../train/step/fit.js'
import { resolveConfig, type PretrainConfig } from '../../train/config/config.js'
import { markdownTable } from '../../train/report/text.js'

/** A GPU with matrix units. Drivers give it bindings of 2 GiB, and some give buffers of at most 4 GiB. */
export const largeGpu: Target = {
  adapterClass: 'gpu',
  maxBindingBytes: 2 ** 31 - 256,
  maxBufferBytes: 2 ** 32 - 2 ** 21,
  maxWorkgroupsPerDimension: 65535,
  subgroups: true,
  f16: true,
  subgroupMatrix: true,
  subgroupSize: [32, 32],
  subgroupSizeControl: false,
  maxInvocations: 1024,
  maxWorkgroupBytes: 49152,
}

/** A step of 8 views of 512 images, and the way in which it fits. */
interface Case {
  arch: 'resnet18' | 'resnet50'
  precision: 'f32' | 'f16'
  /** Height and width of the views. */
  pixels: 32 | 224
  /** Views in memory at the same time; all by default. */
  viewChunk?: number
  /** Micro-batches, one after another, that the images are divided into; 1 by default. */
  accumulate?: number
  /** Gigabytes that it must fit into; absent where it is shown for comparison. */
  within?: 80 | 16
}

const [VIEWS, IMAGES] = [8, 512]

export const memoryCases: readonly Case[] = [
  { arch: 'resnet18', precision: 'f32', pixels: 32, within: 80 },
  { arch: 'resnet18', precision: 'f16', pixels: 32, within: 80 },
  { arch: 'resnet50', precision: 'f32', pixels: 32 },
  { arch: 'resnet50', precision: 'f32', pixels: 32, viewChunk: 4, within: 80 },
  { arch: 'resnet50', precision: 'f16', pixels: 32, within: 80 },
  { arch: 'resnet50', precision: 'f16', pixels: 224 },
  { arch: 'resnet50', precision: 'f32', pixels: 224, viewChunk: 1, within: 80 },
  { arch: 'resnet50', precision: 'f16', pixels: 224, viewChunk: 2, within: 80 },
  { arch: 'resnet50', precision: 'f16', pixels: 224, viewChunk: 1, within: 80 },
  { arch: 'resnet50', precision: 'f16', pixels: 224, accumulate: 4, within: 80 },
  { arch: 'resnet50', precision: 'f32', pixels: 224, accumulate: 32, within: 16 },
  { arch: 'resnet50', precision: 'f16', pixels: 224, accumulate: 16, within: 16 },
]

const configOf = ({ arch, precision, pixels, viewChunk, accumulate = 1 }: Case): PretrainConfig =>
  resolveConfig({
    arch,
    precision,
    stem: pixels === 224 ? 'imagenet' : 'cifar',
    views: VIEWS,
    batch: IMAGES / accumulate,
    accumulate,
    ...(viewChunk !== undefined && { viewChunk, bn: 'per-view' }),
    projectorDim: 256,
    augmentation: { size: pixels },
  })

export interface MemoryResult extends Case {
  /** Network, optimiser, activations and the images of one step. */
  bytes: number
}

/** Plans every case on a GPU. @throws Error if a step cannot be planned on it */
export function planMemory(target: Target = largeGpu, cases = memoryCases): MemoryResult[] {
  const library = new KernelLibrary(kernelTexts)
  const engine: Room['engine'] = { target, plan: (spec) => lower(spec, { target, library }) }
  return cases.map((c) => ({ ...c, bytes: stepBytes({ engine, side: c.pixels === 224 ? 256 : 32 }, configOf(c)) }))
}

export function memoryMarkdown(results: readonly MemoryResult[]): string {
  const rows = results.map(({ arch, precision, pixels, viewChunk, accumulate, within, bytes }) => [
    `${arch === 'resnet18' ? 'ResNet-18' : 'ResNet-50'}, ${precision}, ${pixels} px`,
    viewChunk !== undefined
      ? `${viewChunk} of ${VIEWS} views at a time`
      : accumulate
        ? `${accumulate} micro-batches of ${IMAGES / accumulate} images`
        : 'whole',
    (bytes / 1e9).toFixed(1),
    within ? `${within} GB: ${bytes <= within * 1e9 ? 'yes' : 'no'}` : '',
  ])
  return [
    '## Memory of a step',
    `${VIEWS} views of ${IMAGES} images, width 64, d = 256, Adam, on a GPU whose largest buffer is 4 GiB and whose largest ` +
      'binding is 2 GiB. The figures are plans: network, optimiser, activations and the images of one step.',
    markdownTable(['step', 'how', 'GB', 'fits into'], rows),
  ].join('\n\n')
}
