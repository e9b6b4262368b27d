/** Starts this program again, from a clone or from the installed package, for example as a job on another machine. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** @returns the words of `webgpu-ssl ARGS…`: this Node, the script, and the arguments */
export function ownCommand(...args: string[]): string[] {
  const inClone = fileURLToPath(new URL('../../engine/node/webgpu_ssl.mjs', import.meta.url))
  // The compiled files are one folder deeper.
  const inPackage = fileURLToPath(new URL('../../../engine/node/webgpu_ssl.mjs', import.meta.url))
  return [process.execPath, existsSync(inClone) ? inClone : inPackage, ...args]
}
