/**
 * `npm run test:portable`: the tests that need no WebGPU adapter, for systems that get no software driver.
 * A test is portable if neither it nor a file of test/ that it imports opens a device or starts a process.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig, mergeConfig } from 'vitest/config'
import base from '../vitest.config.js'

const folder = fileURLToPath(new URL('./', import.meta.url))

/** The file and the files of test/ that it imports, directly or not. */
function withImports(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen
  seen.add(file)
  for (const [, path] of readFileSync(file, 'utf8').matchAll(/^(?:import|export|\}).* from '(\.[^']*)\.js'/gm)) {
    const imported = join(dirname(file), `${path}.ts`)
    if (imported.startsWith(folder)) withImports(imported, seen)
  }
  return seen
}

const needsMore = /\b(openEngine|requestAdapter|node:child_process)\b/
const isPortable = (test: string): boolean =>
  ![...withImports(test)].some((file) => needsMore.test(readFileSync(file, 'utf8')))

const tests = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => join(folder, file))

const config = mergeConfig(base, defineConfig({}))
config.test.include = tests.filter(isPortable).map((file) => file.replaceAll('\\', '/'))
export default config
