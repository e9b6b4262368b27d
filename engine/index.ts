/// <reference types="@webgpu/types" preserve="true" />
/** The engine: graph, autograd, Variables, programs and ops. It runs wherever there is a GPUDevice. */
import type { LoweringContext } from './lowering_context.js'

export {
  ShapeError,
  apply,
  defineOp,
  show,
  sizeOf,
  type DType,
  type Node,
  type Op,
  type TensorSpec,
  type Value,
} from './value.js'
export {
  Arena,
  Variable,
  assign,
  constant,
  input,
  variable,
  type Assignment,
  initialOf,
  type Drawing,
  type Initial,
  type TypedArray,
} from './leaves.js'
export { backward, gradients } from './autograd.js'
export { extragradient, sharpnessAware, substituted, type SecondGradientOptions } from './second_gradients.js'
export type { Collective, Numbers } from './collective.js'
export {
  part,
  variantsOf,
  type Dispatch,
  type DispatchRequest,
  type HostWork,
  type Plan,
  type ProgramSpec,
  type Slice,
} from './plan.js'
export { type Target, type Tunable, type VariantTable } from './plan.js'
export { type LoweringContext }
export { measureVariants, type TuningOptions } from './tuning.js'
export { Engine, EngineError, OutOfMemoryError, type Counters, type OpenedDevice } from './engine.js'
export { adapterClassOf, adapterName, targetOf } from './target.js'
export { KernelLibrary, Kernel } from './kernel.js'
export { Program, type BuildProgress } from './program.js'
export { sharedPeakBytes } from './memory.js'
export { kernelTexts } from './kernel_texts.js'
export { fetchKernels } from './fetch_kernels.js'
export { requestDevice } from './request_device.js'
export { firstNonFinite, type NonFinite, type OperandRange } from './inspect.js'
export { Snapshot } from './snapshot.js'
export { freeBytes } from './free_bytes.js'
export * from './random.js'

export { cast } from './ops/cast.js'
export { add, divide, expand, multiply, multiplyAffine, multiplyWhere, subtract } from './ops/elementwise.js'
export { affine, cos, exp, log, relu, scale, sin, sqrt, square } from './ops/elementwise.js'
export { mean, sum, sumProducts, sumSquares } from './ops/reduce.js'
export { filled, placeRows, reshape, sliceRows, stopGradient } from './ops/layout.js'
export { matmul, type MatmulOptions } from './ops/matmul.js'
export { conv2d, type Conv2dOptions } from './ops/conv2d.js'
export { batchNorm, standardizeColumns, type BatchNormOptions } from './ops/batch_norm.js'
export { batchNormInference, updateRunningStatistics } from './ops/batch_norm_inference.js'
export { globalAveragePool, maxPool2d } from './ops/pool.js'
export { l2NormalizeRows } from './ops/normalize.js'
export { crossCorrelation, gram, orthogonalityLoss } from './ops/correlation.js'
export { MASKED_LABEL, crossEntropy, crossEntropyRows } from './ops/cross_entropy.js'
export { exchange, gatheredRows, sumOfShares, summed } from './ops/exchange.js'
export { logDeterminant } from './ops/log_determinant.js'
export { gather } from './ops/gather.js'
export { ntXentRows } from './ops/nt_xent.js'
export { accumulate, putChunk, takeChunk } from './ops/chunks.js'
export { dynamicLossScale, type LossScale, type Unscaling } from './ops/loss_scale.js'
export { adam, adamW, sgd, type Optimizer } from './ops/optimizers.js'
export { lars } from './ops/lars.js'
export { clipByGlobalNorm } from './ops/clip.js'
export { ema } from './ops/ema.js'
export { tensorHealth, type TensorHealth } from './ops/tensor_health.js'
export { gradientAccumulation, type GradientAccumulation } from './ops/gradient_accumulation.js'

/** @deprecated The name is now `LoweringContext`. */
export type Emit = LoweringContext
