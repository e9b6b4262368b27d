/** A machine with equal GPUs, as Linux lists its devices. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Whether a C compiler is here, which the layer for equal GPUs needs. */
export const hasCompiler = spawnSync('cc', ['--version']).status === 0

/** Class, vendor and device: the screen of a server, two equal GPUs and another one, and three equal network cards. */
const DEVICES = [
  ['0x030000', '0x1a03', '0x2000'],
  ['0x030200', '0x10de', '0x2335'],
  ['0x030200', '0x10de', '0x2335'],
  ['0x030200', '0x10de', '0x2336'],
  ['0x020000', '0x15b3', '0x101d'],
  ['0x020000', '0x15b3', '0x101d'],
  ['0x020000', '0x15b3', '0x101d'],
]

/** Writes the list into a subfolder. @returns the subfolder */
export function listEqualGpus(folder: string): string {
  const devices = join(folder, 'devices')
  for (const [i, values] of DEVICES.entries()) {
    mkdirSync(join(devices, String(i)), { recursive: true })
    for (const [j, name] of ['class', 'vendor', 'device'].entries())
      writeFileSync(join(devices, String(i), name), `${values[j]}\n`)
  }
  return devices
}
