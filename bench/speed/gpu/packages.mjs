// node bench/speed/gpu/packages.mjs            lists the packages of node_modules that `bench gpu` imports, with their KiB
// node bench/speed/gpu/packages.mjs FILE.txz   packs them, for a machine of this kind without a network
// They are what the project depends on, tsx to run it and vitest for the tests of the engine. Left out are the other
// packages for development, the builds for other systems, and files that only people and compilers read.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))
/** Beside the dependencies of the project. */
const TOOLS = ['tsx', 'vitest']
/** The whole package is only needed to build pages and their styles. */
const NOT_USED = [/^node_modules\/lightningcss/, /^node_modules\/uplot$/]
/** The builds of Dawn for other systems. */
const otherSystem = /^node_modules\/webgpu\/dist\/(?!linux-x64)/
/** @param {string} path */
const onlyForReading = (path) => /\.(map|md|d\.ts|d\.mts|d\.cts|flow)$/i.test(path)

/** @type {Record<string, Record<string, any>>} */
const locked = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages

/** Where a package finds another one: in its own folder, or in those above it. @param {string} from @param {string} name */
function found(from, name) {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    const path = `${at && `${at}/`}node_modules/${name}`
    if (locked[path] && existsSync(join(root, path))) return path
    if (!at) return undefined
  }
}

/** The folders of some packages and of all that they need. @param {readonly string[]} names */
function needed(names) {
  const paths = new Set()
  const open = names.map((name) => found('', name))
  for (let path = open.pop(); open.length || path; path = open.pop()) {
    if (!path || paths.has(path) || NOT_USED.some((pattern) => pattern.test(path))) continue
    paths.add(path)
    const { dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta } = locked[path]
    const peers = Object.keys(peerDependencies ?? {}).filter((name) => !peerDependenciesMeta?.[name]?.optional)
    for (const name of [...Object.keys({ ...dependencies, ...optionalDependencies }), ...peers])
      open.push(found(path, name))
  }
  return [...paths].sort()
}

/** The files of a package, without the packages inside it. @param {string} path @returns {string[]} */
const filesOf = (path) =>
  readdirSync(join(root, path), { withFileTypes: true }).flatMap((entry) => {
    const inside = `${path}/${entry.name}`
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesOf(inside)
    return otherSystem.test(inside) || onlyForReading(inside) ? [] : [inside]
  })

const packages = needed([...Object.keys(locked[''].dependencies), ...TOOLS])
const [archive] = process.argv.slice(2)
if (archive === undefined) {
  const sizes = packages.map((path) => ({
    path,
    bytes: filesOf(path).reduce((sum, file) => sum + statSync(join(root, file)).size, 0),
  }))
  for (const { path, bytes } of sizes.sort((a, b) => b.bytes - a.bytes))
    console.log(`${String(Math.ceil(bytes / 1024)).padStart(7)}  ${path}`)
} else {
  // npm's record of what is installed tells the launcher that nothing is missing.
  const files = ['node_modules/.package-lock.json', ...packages.flatMap(filesOf)]
  const { status } = spawnSync(
    'tar',
    ['-C', root, '-cJf', archive, '--no-recursion', '--verbatim-files-from', '-T', '-'],
    {
      input: files.join('\n'),
      stdio: ['pipe', 'inherit', 'inherit'],
      env: { ...process.env, XZ_OPT: '-6' },
    },
  )
  if (status === 0) console.log(`${archive}: ${(statSync(archive).size / 2 ** 20).toFixed(1)} MiB`)
  process.exitCode = status ?? 1
}
