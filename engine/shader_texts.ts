/** The kernels' texts where there is no file system: fetched from beside the compiled modules. */

/** Every file in `shaders/`, without `.wgsl`. A browser cannot list a folder. */
export const kernelNames = [
  'accumulate',
  'adam',
  'augment',
  'augment_blur',
  'batch_norm_apply',
  'batch_norm_fold',
  'batch_norm_gradient_apply',
  'batch_norm_gradient_merge',
  'batch_norm_gradient_sums',
  'batch_norm_merge',
  'batch_norm_running',
  'batch_norm_statistics',
  'binary',
  'binary_broadcast',
  'binary_rows',
  'chunk',
  'clip',
  'conv2d',
  'conv2d_matrix',
  'conv2d_row',
  'conv2d_tiled',
  'conv2d_weight_gradient',
  'conv2d_weight_gradient_matrix',
  'conv2d_weight_gradient_tiled',
  'copy',
  'cross_entropy',
  'ema',
  'finite',
  'gather',
  'lars',
  'lars_norms',
  'lars_trust',
  'loss_scale',
  'matmul',
  'max_pool',
  'max_pool_gradient',
  'normalize_rows',
  'nt_xent',
  'orthogonality',
  'pad',
  'reduce',
  'reduce4',
  'sgd',
  'shift',
  'squares',
  'transpose',
  'transpose4',
  'unary',
  'winograd_input',
  'winograd_output',
  'winograd_output_gradient',
  'winograd_weights',
] as const

export type KernelName = (typeof kernelNames)[number]

/**
 * Fetches the texts of all kernels.
 *
 * @param base folder that holds them; by default the package's own, in a form that bundlers resolve
 * @returns the texts by file name without `.wgsl`, as `new Engine(device, info, texts)` takes them
 * @throws Error naming the first file that could not be had
 */
export async function fetchKernels(base?: string | URL): Promise<Record<KernelName, string>> {
  const entries = kernelNames.map(async (name) => {
    const url = base ? new URL(`${name}.wgsl`, base) : new URL(`../shaders/${name}.wgsl`, import.meta.url)
    const response = await fetch(url)
    if (!response.ok)
      throw new Error(`${url.href}: ${response.status} ${response.statusText}; serve the package's shaders there`)
    return [name, await response.text()] as const
  })
  return Object.fromEntries(await Promise.all(entries)) as Record<KernelName, string>
}
