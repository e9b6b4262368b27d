/** Ceilings of the adapter, measured: multiply-adds of each dtype, and bytes copied. */
import type { Engine } from '../../engine/index.js'

export interface Ceilings {
  /** GFLOP/s of independent f32 multiply-adds without memory access. */
  f32: number
  /** The same in f16; absent if the adapter has no f16. */
  f16?: number
  /** GFLOP/s of 16×16×16 subgroup-matrix products with f16 inputs and f32 sums; absent if the adapter has none. */
  subgroupMatrix?: number
  /** GB/s of a copy, counting reads and writes. */
  copy: number
}

const STORAGE = 0x80
/** Numbers of workgroups to try for a copy: few are best on a CPU, many on a GPU. */
const COPY_GROUPS = [16, 64, 256, 4096, 32768]
/** A measurement lasts about this long. */
const SECONDS = 0.06
const ITERATIONS = 512
/** Loop unrollings to try. CPU drivers emulate f16, and a long loop body spills registers there. */
const UNROLLED = [1, 4]
/** Independent vec4 sums per invocation to try: how many hide latency and fit in registers depends on the adapter. */
const ACCUMULATORS = [2, 3, 8]

const lines = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join('\n')

/** Multiply-adds on registers. `fused` uses `fma`; drivers without that instruction can be faster without it. */
export const fmaShader = (dtype: 'f32' | 'f16', accumulators: number, fused: boolean, unrolled: number): string => `
${dtype === 'f16' ? 'enable f16;' : ''}
@group(0) @binding(0) var<storage, read_write> result: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let seed = ${dtype}(id.x & 7u) * ${dtype}(0.125);
  // Equal values in all four lanes take only two registers, so more remain for the sums.
  let factor = vec4<${dtype}>(seed + ${dtype}(0.125));
  let addend = vec4<${dtype}>(seed + ${dtype}(0.5));
${lines(accumulators, (i) => `  var a${i} = vec4<${dtype}>(seed + ${dtype}(${i}));`)}
  for (var i = 0u; i < ${ITERATIONS / unrolled}u; i++) {
${lines(unrolled * accumulators, (k) => {
  const a = `a${k % accumulators}`
  return `    ${a} = ${fused ? `fma(${a}, factor, addend)` : `${a} * factor + addend`};`
})}
  }
  result[id.x] = vec4<f32>(${Array.from({ length: accumulators }, (_, i) => `a${i}`).join(' + ')});
}`

/** Four independent 16×16 sums per subgroup, with operands that stay in registers. */
export const matrixShader = (subgroupSize: number): string => `
enable f16;
enable chromium_experimental_subgroup_matrix;
@group(0) @binding(0) var<storage, read_write> result: array<f32>;
@group(0) @binding(1) var<storage, read_write> operands: array<f16>;

@compute @workgroup_size(${subgroupSize})
fn main(@builtin(workgroup_id) group: vec3u) {
  let left = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&operands, 0u, 16u);
  let right = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&operands, 256u, 16u);
${lines(4, (i) => `  var c${i} = subgroup_matrix_result<f32, 16, 16>();`)}
  for (var i = 0u; i < ${ITERATIONS}u; i++) {
${lines(4, (i) => `    c${i} = subgroupMatrixMultiplyAccumulate(left, right, c${i});`)}
  }
${lines(4, (i) => `  subgroupMatrixStore<row_major>(&result, group.x * 1024u + ${256 * i}u, c${i}, 16u);`)}
}`

/** A copy with a grid-stride loop: neighbouring invocations copy neighbouring vectors. */
export const copyShader = `
@group(0) @binding(0) var<storage, read_write> to: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> source: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < arrayLength(&to); i += 64u * groups.x) { to[i] = source[i]; }
}`

/** Measures all ceilings of the adapter. Takes about a second for each dtype. */
export async function measureCeilings(engine: Engine): Promise<Ceilings> {
  const cpu = engine.target.adapterClass === 'cpu'
  const groups = cpu ? 64 : 16384
  const fma = async (dtype: 'f32' | 'f16'): Promise<number> => {
    let best = 0
    for (const accumulators of ACCUMULATORS)
      for (const [fused, unrolled] of [true, false].flatMap((f) => UNROLLED.map((u) => [f, u] as const))) {
        const seconds = await time(engine, fmaShader(dtype, accumulators, fused, unrolled), [16 * 64 * groups], groups)
        best = Math.max(best, (2 * 4 * accumulators * ITERATIONS * 64 * groups) / seconds / 1e9)
      }
    return best
  }
  // About the size of activations; on a GPU larger than its caches.
  const bytes = (cpu ? 4 : 256) * 2 ** 20
  const copy = async (): Promise<number> => {
    let best = 0
    for (const count of COPY_GROUPS)
      best = Math.max(best, (2 * bytes) / (await time(engine, copyShader, [bytes, bytes], count)) / 1e9)
    return best
  }
  const ceilings: Ceilings = {
    f32: await fma('f32'),
    copy: await copy(),
  }
  if (engine.target.f16) ceilings.f16 = await fma('f16')
  if (engine.target.subgroupMatrix) {
    const shader = matrixShader(engine.target.subgroupSize[1])
    const seconds = await time(engine, shader, [4096 * groups, 1024], groups)
    ceilings.subgroupMatrix = (4 * 2 * 16 ** 3 * ITERATIONS * groups) / seconds / 1e9
  }
  return ceilings
}

/** Seconds of one dispatch: many dispatches in a pass, the best of three passes. */
async function time(engine: Engine, code: string, bytes: readonly number[], groups: number): Promise<number> {
  const { device } = engine
  return engine.guarded('ceilings', async () => {
    const pipeline = await device.createComputePipelineAsync({
      layout: 'auto',
      compute: { module: device.createShaderModule({ code }), entryPoint: 'main' },
    })
    const buffers = bytes.map((size) => device.createBuffer({ size, usage: STORAGE }))
    const bindGroup = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    })
    const run = async (times: number): Promise<number> => {
      const encoder = device.createCommandEncoder()
      const pass = encoder.beginComputePass()
      pass.setPipeline(pipeline)
      pass.setBindGroup(0, bindGroup)
      for (let i = 0; i < times; i++) pass.dispatchWorkgroups(groups)
      pass.end()
      const commands = encoder.finish()
      const started = performance.now()
      device.queue.submit([commands])
      await engine.waitFor(device.queue.onSubmittedWorkDone())
      return (performance.now() - started) / 1000
    }
    await run(1)
    const times = Math.max(1, Math.min(1000, Math.ceil(SECONDS / 3 / (await run(1)))))
    let best = Infinity
    for (let round = 0; round < 3; round++) best = Math.min(best, (await run(times)) / times)
    for (const buffer of buffers) buffer.destroy()
    return best
  })
}
