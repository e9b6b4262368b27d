/** A whole pretraining step as a user's run has it, on random images: views, network, loss, gradients, Adam. */
import type { Engine, Program, Variable } from '../../engine/index.js'
import { drawViews } from '../../train/augment/draw.js'
import { deviceImages, type DeviceImages } from '../../train/augment/views.js'
import { resolveConfig, type PretrainConfig } from '../../train/config/config.js'
import { buildNetwork, trainedDicts } from '../../train/step/network.js'
import { describeStep } from '../../train/step/whole.js'

export type Workload = Pick<PretrainConfig, 'arch' | 'width' | 'batch' | 'views' | 'stem' | 'precision'> & {
  /** Height and width of images and views. */
  pixels: number
}

export const nameOf = ({ arch, width, batch, views, pixels, precision }: Workload): string =>
  `${arch === 'resnet18' ? 'ResNet-18' : arch === 'resnet50' ? 'ResNet-50' : 'ResNet-34'}, width ${width}, batch ${batch}, ` +
  `${views} views, ${pixels} px${precision === 'f16' ? ', f16' : ''}`

export interface Step {
  program: Program
  /** Draws the views of a step and gives its inputs: the part that the CPU computes. */
  inputs(step: number): Record<string, Float32Array>
  /** Frees the program and everything that it trains. */
  release(): void
}

/** As many random images as a batch has, on the device. */
export function randomImages(engine: Engine, { batch, pixels }: Workload): DeviceImages {
  const bytes = new Uint8Array(batch * pixels * pixels * 3)
  for (let i = 0, state = 1; i < bytes.length; i++) bytes[i] = (state = Math.imul(state, 1664525) + 1013904223) >>> 24
  return deviceImages({ count: batch, height: pixels, width: pixels, images: bytes }, engine.target.maxBindingBytes)
}

/** Draws the views of a step of all images: the part of it that the CPU computes. */
export const rowsOf = ({ augmentation, batch, views }: PretrainConfig, pixels: number, step: number): Float32Array =>
  drawViews(augmentation, {
    seed: 1,
    epoch: step,
    images: Uint32Array.from({ length: batch }, (_, i) => i),
    views,
    sourceHeight: pixels,
    sourceWidth: pixels,
  })

/** Records the step; its first run has yet to come. */
export async function compileWorkload(engine: Engine, workload: Workload): Promise<Step> {
  const { pixels } = workload
  const config = resolveConfig({ ...fields(workload), projectorDim: 256, augmentation: { size: pixels } })
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
    inputs: (step) => ({
      rows: rowsOf(config, pixels, step),
      rate,
    }),
    release: () => {
      program.destroy()
      for (const v of variables) engine.release(v)
    },
  }
}

const fields = ({ arch, width, batch, views, stem, precision }: Workload) => ({
  arch,
  width,
  batch,
  views,
  stem,
  precision,
})
