/** Engines on one device that lower for different targets, so that every path of lowering is reached. */
import { Engine, type Target } from '../../../engine/index.js'
import { kernelTexts } from '../../../engine/kernel_texts.js'
import { emulated } from '../../engine/ops/products/emulated_matrices.js'

/** For which adapter a case is lowered, whatever the real one is. */
export type TargetName =
  | 'as it is'
  | 'as a GPU'
  | 'without subgroups'
  | 'bindings of 8 KiB'
  | 'bindings of 64 KiB'
  | 'bindings of 256 KiB'
  | 'matrix units'

const changes: Record<TargetName, Partial<Target>> = {
  'as it is': {},
  'as a GPU': { adapterClass: 'gpu' },
  'without subgroups': { subgroups: false },
  'bindings of 8 KiB': { maxBindingBytes: 8 * 1024 },
  'bindings of 64 KiB': { maxBindingBytes: 64 * 1024 },
  'bindings of 256 KiB': { maxBindingBytes: 256 * 1024 },
  'matrix units': { adapterClass: 'gpu', subgroupMatrix: true, subgroupSize: [32, 32] },
}

/** The targets for which a family is lowered. */
export function targetsFor(variant: string | undefined): readonly TargetName[] {
  if (variant?.startsWith('matrix')) return ['matrix units']
  if (variant?.startsWith('tiled')) return ['as a GPU']
  const plain: readonly TargetName[] = ['as it is', 'as a GPU', 'without subgroups']
  // The operands of a product are larger.
  return variant === undefined
    ? [...plain, 'bindings of 8 KiB', 'bindings of 64 KiB']
    : [...plain, 'bindings of 64 KiB', 'bindings of 256 KiB']
}

/** Kernels for matrix units, with the units emulated. */
function emulatedKernels(): Record<string, string> {
  const texts = { ...kernelTexts }
  for (const name of ['conv2d_matrix', 'conv2d_weight_gradient_matrix']) texts[name] = emulated(texts[name])
  return texts
}

export class Engines {
  private readonly made = new Map<TargetName, Engine>()

  constructor(readonly own: Engine) {}

  of(name: TargetName): Engine {
    let engine = this.made.get(name)
    if (!engine) {
      const { own } = this
      const units = name === 'matrix units'
      const real = units && own.target.subgroupMatrix
      engine = units && !real ? new Engine(own.device, own.info, emulatedKernels()) : (Object.create(own) as Engine)
      const target: Target = { ...own.target, ...(real ? {} : changes[name]) }
      Object.defineProperties(engine, {
        target: { value: target },
        variants: { value: new Map<string, string>() },
        waitFor: { value: own.waitFor },
      })
      this.made.set(name, engine)
    }
    return engine
  }
}
