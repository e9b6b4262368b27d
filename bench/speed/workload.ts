/** Pretraining steps to measure: views, network, loss, gradients and Adam as a run has them, on random images. */
import type { Engine, Program, Variable } from '../../engine/index.js'
import { drawViews } from '../../train/augment/draw.js'
import { deviceImages, type DeviceImages } from '../../train/augment/views.js'
import { resolveConfig, type PretrainConfig } from '../../train/config/config.js'
import { buildNetwork, trainedDicts } from '../../train/step/network.js'
import { describeStep } from '../../train/step/whole.js'
import { randomBytes } from './random_data.js'

export type Workload = Pick<PretrainConfig, 'arch' | 'width' | 'batch' | 'views' | 'stem' | 'precision'> & {
  /** Height and width of images and views. */
  pixels: number
}

export const nameOf = ({ arch, width, batch, views, pixels, precision }: Workload): string =>
  `${arch === 'resnet18' ? 'ResNet-18' : arch === 'resnet50' ? 'ResNet-50' : 'ResNet-34'}, width ${width}, batch ${batch}, ` +
  `${views} views, ${pixels} px${precision === 'f16' ? ', f16' : ''}`

/** ResNet-18 on CIFAR-10, with changes. */
export const workload = (changes: Partial<Workload>): Workload => ({
  arch: 'resnet18',
  stem: 'cifar',
  width: 64,
  batch: 16,
  views: 2,
  pixels: 32,
  precision: 'f32',
  ...changes,
})

/** The workloads of an adapter class, the smallest first. Each step takes at most seconds. */
export function workloads(adapterClass: 'cpu' | 'gpu', f16: boolean, quick: boolean): Workload[] {
  const small = workload({ width: 16, batch: 32 })
  if (adapterClass === 'cpu')
    return [
      small,
      ...(quick ? [] : [4, 8].map((views) => ({ ...small, views }))),
      workload({}),
      ...(quick ? [] : [workload({ arch: 'resnet50', width: 16, batch: 8 })]),
    ]
  const precisions = f16 ? (['f32', 'f16'] as const) : (['f32'] as const)
  return [
    small,
    workload({}),
    ...precisions.flatMap((precision) => [
      ...[128, 512].map((batch) => workload({ batch, precision })),
      ...(quick ? [] : [4, 8].map((views) => workload({ batch: 128, views, precision }))),
      ...(quick ? [] : [workload({ arch: 'resnet50', batch: 128, precision })]),
      ...(quick ? [] : [workload({ arch: 'resnet50', batch: 64, pixels: 224, stem: 'imagenet', precision })]),
    ]),
  ]
}

export interface CompiledWorkload {
  program: Program
  /** Draws the views of a step and returns the inputs of the program; this part runs on the CPU. */
  inputs(step: number): Record<string, Float32Array>
  /** Frees the program and its variables. */
  release(): void
}

/** One batch of random images on the device. */
export function randomImages(engine: Engine, { batch, pixels }: Workload): DeviceImages {
  const images = randomBytes(batch * pixels * pixels * 3)
  return deviceImages({ count: batch, height: pixels, width: pixels, images }, engine.target.maxBindingBytes)
}

/** Draws the views of all images for a step. */
export const rowsOf = ({ augmentation, batch, views }: PretrainConfig, pixels: number, step: number): Float32Array =>
  drawViews(augmentation, {
    seed: 1,
    epoch: step,
    images: Uint32Array.from({ length: batch }, (_, i) => i),
    views,
    sourceHeight: pixels,
    sourceWidth: pixels,
  })

/** The configuration of a workload, with further options. */
export function configOf({ pixels, ...options }: Workload, more: Partial<PretrainConfig> = {}): PretrainConfig {
  return resolveConfig({ ...options, ...more, projectorDim: 256, augmentation: { size: pixels } })
}

/** Compiles the whole step of a workload, without running it. */
export async function compileWorkload(engine: Engine, workload: Workload): Promise<CompiledWorkload> {
  const config = configOf(workload)
  const network = buildNetwork(config)
  const images = randomImages(engine, workload)
  const { spec, state } = describeStep(images, network, config)
  const program = await engine.compile(spec)
  const rate = new Float32Array([config.lr])
  const variables: Variable[] = [
    ...trainedDicts(network).flatMap((dict) => dict.variables),
    ...state,
    ...images.shards.map(({ words }) => words),
  ]
  return {
    program,
    inputs: (step) => ({ rows: rowsOf(config, workload.pixels, step), rate }),
    release: () => {
      program.destroy()
      for (const v of variables) engine.release(v)
    },
  }
}
