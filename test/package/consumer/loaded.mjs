// node loaded.mjs ENTRY: imports an entry and prints the bytes of the files that were loaded, by package, as JSON.
import { readFileSync, rmSync, statSync } from 'node:fs'
import { createRequire, register } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const log = join(tmpdir(), `webgpu-ssl-loaded-${process.pid}`)
const hook = `import { appendFileSync } from 'node:fs'
export async function load(url, context, next) {
  appendFileSync(${JSON.stringify(log)}, url + '\\n')
  return next(url, context)
}`
register(`data:text/javascript,${encodeURIComponent(hook)}`)
await import(process.argv[2])

const urls = readFileSync(log, 'utf8').split('\n')
rmSync(log)
const files = urls.filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url))
// Modules that CommonJS modules require do not pass the hook.
const all = new Set([...files, ...Object.keys(createRequire(import.meta.url).cache)])
/** @type {Record<string, number>} */
const bytes = {}
for (const file of all) {
  const name = /.*node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)/.exec(file)?.[1]
  if (name) bytes[name] = (bytes[name] ?? 0) + statSync(file).size
}
console.log(JSON.stringify(bytes))
