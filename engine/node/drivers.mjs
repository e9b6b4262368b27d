// Chooses the driver for WebGPU on this machine, in this order: a hardware GPU; a software driver of the system that
// Dawn accepts; Mesa's lavapipe from apt; SwiftShader from npm (lavapipe.mjs and swiftshader.mjs fetch them).
// Whether Dawn accepts a driver is only known by asking it, and a process can ask only once, because drivers stay
// loaded. So a short child process asks, and its answer is kept in the cache folder until a driver file changes.
// Node built-ins only: the launcher runs this before `npm ci` has installed anything.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import { existsSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs'
import { constants, homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheFolder, driverFolder, openCache, writeWhole } from './cache_folder.mjs'
import { adaptersIn, damageOf, failureIn, readDriverRecord, writeDriverRecord } from './driver_files.mjs'
import { fetchLavapipe } from './lavapipe.mjs'
import { fetchSwiftShader } from './swiftshader.mjs'

/** @typedef {'hardware' | 'system' | 'lavapipe' | 'swiftshader'} DriverKind */
/** Where a driver's files come from: the machine's own Vulkan, Metal or Direct3D, or a folder of the cache.
 * @typedef {'machine' | 'lavapipe' | 'swiftshader'} DriverHome */
/** One adapter as Dawn reports it; `name` selects it again through Dawn's `adapter=` flag.
 * @typedef {{ name: string, description: string, software: boolean }} AdapterReport */
/** A chosen driver: its kind, the adapter's description, one line for the user.
 * @typedef {{ kind: DriverKind, home: DriverHome, name: string, description: string, note: string }} Driver */

/** There is no adapter for the request. The message names the remedy. */
export class AdapterError extends Error {
  name = 'AdapterError'
}

/** Kinds, best first. @type {DriverKind[]} */
export const driverKinds = ['hardware', 'system', 'lavapipe', 'swiftshader']

/** @type {DriverHome[]} */
const homes = ['machine', 'lavapipe', 'swiftshader']
const fetchers = { lavapipe: fetchLavapipe, swiftshader: fetchSwiftShader }
const dayInMs = 86_400_000

/** Whether an adapter matches a user's `--adapter NAME`: a driver kind, or part of the adapter's name or description,
 * in upper or lower case. @param {string} name @param {{ kind: DriverKind, name: string, description: string }} adapter */
export function matchesName(name, adapter) {
  const wanted = name.toLowerCase()
  if (/** @type {string[]} */ (driverKinds).includes(wanted)) return adapter.kind === wanted
  return `${adapter.name}\n${adapter.description}`.toLowerCase().includes(wanted)
}

/** One line for the user: the adapter, and how much faster a better one is. The factors are those of a 512³ f32 matmul
 * on two cores. @param {DriverKind} kind @param {string} description @returns {string} */
export function adapterNote(kind, description) {
  if (kind === 'hardware') return `Adapter: ${description} (hardware GPU).`
  if (/swiftshader/i.test(description))
    return `Adapter: ${description} (software); Mesa's lavapipe would be about 5 times as fast.`
  const origin = kind === 'system' ? 'software of this system' : 'software'
  return `Adapter: ${description} (${origin}); a hardware GPU would be 100 times as fast or more.`
}

// ---------------------------------------------------------------- the adapters of each home

/** @param {string} folder @returns {string[]} */
function filesIn(folder) {
  return existsSync(folder)
    ? readdirSync(folder)
        .sort()
        .map((name) => join(folder, name))
    : []
}

/** The manifests of the system's Vulkan drivers. Containers with an NVIDIA GPU may have them under /usr/local/nvidia. */
function vulkanManifests() {
  return [
    '/etc',
    '/usr/share',
    '/usr/local/share',
    '/usr/local/etc',
    '/usr/local/nvidia/share',
    join(homedir(), '.local/share'),
  ].flatMap((folder) => filesIn(join(folder, 'vulkan/icd.d')))
}

/** Device nodes of GPUs. Without any, no hardware driver can find a GPU. */
function gpuNodes() {
  return [
    ...filesIn('/dev/dri').filter((path) => path.includes('renderD')),
    ...['/dev/nvidia0', '/dev/dxg'].filter((path) => existsSync(path)),
  ]
}

/** Files of the system that can change Dawn's answer. */
function machineFiles() {
  const loaders = [
    '/usr/lib',
    '/usr/lib64',
    '/usr/local/lib',
    `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`,
  ]
  return [
    ...vulkanManifests(),
    ...gpuNodes(),
    ...loaders.map((folder) => join(folder, 'libvulkan.so.1')).filter((path) => existsSync(path)),
  ]
}

/** A key that changes whenever Dawn's answer about a home may change: it depends on the driver's files and their times,
 * on the environment that Vulkan's loader reads, and on Dawn itself. Device nodes count by name only, because each boot
 * makes new ones.
 * @param {DriverHome} home @param {string[]} files @param {Record<string, string | undefined>} environment @returns {string} */
export function verdictKey(home, files, environment) {
  const variables = Object.entries(environment)
    .filter(([name]) => /^(VK_|LP_|LD_LIBRARY_PATH$|CUDA_VISIBLE|NVIDIA_VISIBLE|XDG_DATA_|DRI_PRIME$)/.test(name))
    .sort()
  const stamps = files.map((file) => {
    if (file.startsWith('/dev/')) return file
    const info = statSync(file, { throwIfNoEntry: false })
    return `${file} ${info?.size} ${info?.mtimeMs}`
  })
  return createHash('sha256')
    .update(JSON.stringify([home, process.platform, process.arch, variables, stamps]))
    .digest('hex')
    .slice(0, 16)
}

/** The path of Dawn's package, which may also lie beside an installed copy of this package; '' if not installed. */
function dawnPackage() {
  try {
    return createRequire(import.meta.url).resolve('webgpu/package.json')
  } catch {
    return ''
  }
}

/** @param {DriverHome} home @returns {string[]} */
function driverFiles(home) {
  return [
    dawnPackage(),
    ...(home === 'swiftshader' ? [] : machineFiles()),
    ...(home === 'machine' ? [] : ['.', 'lib'].flatMap((name) => filesIn(join(driverFolder(home), name)))),
  ]
}

/** @param {string} file @returns {any} */
function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

/** @param {string} file @param {unknown} value */
function writeJson(file, value) {
  openCache()
  writeWhole(file, JSON.stringify(value, null, 2) + '\n')
}

/** The environment at the start of the process. Activating a driver adds variables, which must not change the answer. */
const environment = { ...process.env }

/** The adapters that Dawn offers on one home's driver, best first. They come from the cache if nothing has changed.
 * @param {DriverHome} home @returns {Promise<AdapterReport[]>} */
async function adaptersOf(home) {
  const file = join(cacheFolder(), `adapters-${home}.json`)
  const key = () => verdictKey(home, driverFiles(home), environment)
  const known = adaptersIn(readJson(file), key())
  if (known.length > 0) return known
  let adapters = (await probeInChild(home)) ?? []
  if (adapters.length === 0 && (await healDriver(home))) adapters = (await probeInChild(home)) ?? []
  // An empty list is not cached: a driver that is busy or is being installed may answer the next time.
  if (adapters.length === 0) return []
  const record = home === 'machine' ? undefined : readDriverRecord(driverFolder(home))
  // An older version fetched it without checksums.
  if (record && !record.files) writeDriverRecord(driverFolder(home), record.preload)
  writeJson(file, { key: key(), adapters })
  return adapters
}

/** Fetches a driver again if its files are damaged. Call it when the driver has failed.
 * @param {DriverHome} home @param {(folder: string) => Promise<void>} [fetch] @returns {Promise<boolean>} whether it was fetched */
export async function healDriver(home, fetch) {
  return home !== 'machine' && removeDamaged(home) && (await ensureFetched(home, true, fetch)) === ''
}

/** Removes a driver with damaged files, and says so in one line. @param {DriverHome} home */
function removeDamaged(home) {
  const folder = driverFolder(home)
  const damage = existsSync(folder) ? damageOf(folder) : ''
  if (!damage) return false
  process.stderr.write(`The software driver ${home} is damaged (${damage}): it is fetched again.\n`)
  rmSync(folder, { recursive: true, force: true })
  return true
}

/** Deletes the cached answer about a home, when its driver fails in spite of it. @param {DriverHome} home */
export function forgetVerdict(home) {
  writeJson(join(cacheFolder(), `adapters-${home}.json`), {})
}

/** @param {DriverHome} home @returns {Promise<AdapterReport[] | undefined>} undefined if the child crashed or hung */
function probeInChild(home) {
  return new Promise((resolve) => {
    // On stderr Dawn and Vulkan's loader list every driver that they refuse. Only the answer on stdout is used.
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url), 'probe', home], {
      env: environment,
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: 60_000,
    })
    let out = ''
    child.stdout.on('data', (data) => {
      out += data
    })
    child.on('error', () => resolve(undefined))
    child.on('close', () =>
      resolve(
        /^ADAPTERS (.*)$/m.test(out)
          ? JSON.parse(/** @type {RegExpExecArray} */ (/^ADAPTERS (.*)$/m.exec(out))[1])
          : undefined,
      ),
    )
  })
}

/** Runs in the child process: asks Dawn for all adapters of this home. @param {DriverHome} home */
async function probe(home) {
  activateDriver(home)
  const { create } = await import('webgpu')
  /** @type {AdapterReport[]} */
  const reports = []
  /** Dawn lists the names of its adapters only in its error about an unknown name. */
  const names = await (async () => create(['adapter=\u0001']).requestAdapter())().then(
    () => [],
    (error) => [...String(error.message).matchAll(/name: '(.*)'$/gm)].map((match) => match[1]),
  )
  // The default request comes first: it gives the GPU that Dawn prefers.
  for (const flags of [[], ...names.map((name) => [`adapter=${name}`])]) {
    const gpu = create(flags)
    const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' })
    if (!adapter) continue
    const { description, device, vendor, isFallbackAdapter } = adapter.info
    const report = {
      name: flags[0]?.slice('adapter='.length) ?? '',
      // A card's driver may call every card by its own name in the description.
      description: (isFallbackAdapter ? description || device : device || description) || vendor,
      software: isFallbackAdapter,
    }
    const same = reports.find((other) => other.description === report.description)
    if (same) same.name ||= report.name
    else reports.push(report)
  }
  process.stdout.write(`ADAPTERS ${JSON.stringify(reports)}\n`)
  process.exit(0)
}

// ---------------------------------------------------------------- choosing

/** Fetches a home's driver unless it is there. A failure is remembered for a day, so that a machine without a network
 * does not wait at every start. A request for the driver by name tries again.
 * @param {'lavapipe' | 'swiftshader'} home @param {boolean} insist @param {(folder: string) => Promise<void>} [fetch]
 * @returns {Promise<string>} the reason of a failure, else '' */
async function ensureFetched(home, insist, fetch = fetchers[home]) {
  const folder = driverFolder(home)
  if (readDriverRecord(folder)) return ''
  if (process.platform !== 'linux') return 'it is fetched only on Linux'
  const file = join(cacheFolder(), `unavailable-${home}.json`)
  const failure = removeDamaged(home) || insist ? '' : failureIn(readJson(file), dayInMs)
  if (failure) return failure
  try {
    openCache()
    await fetch(folder)
    return ''
  } catch (error) {
    const reason = /** @type {Error} */ (error).message
    writeJson(file, { reason, time: Date.now() })
    return reason
  }
}

/** @param {DriverHome} home @param {AdapterReport} report @returns {Driver} */
function toDriver(home, report) {
  const kind = !report.software ? 'hardware' : home === 'machine' ? 'system' : home
  return { kind, home, name: report.name, description: report.description, note: adapterNote(kind, report.description) }
}

/** The adapters of one home, hardware first. The list is empty if its driver has not been fetched.
 * @param {DriverHome} home @returns {Promise<Driver[]>} */
async function driversOf(home) {
  if (home !== 'machine' && !readDriverRecord(driverFolder(home))) return []
  const drivers = (await adaptersOf(home)).map((report) => toDriver(home, report))
  return drivers.sort((a, b) => driverKinds.indexOf(a.kind) - driverKinds.indexOf(b.kind))
}

/** All adapters that are available without fetching a driver, best first. @returns {Promise<Driver[]>} */
export async function availableDrivers() {
  const found = []
  for (const home of homes) found.push(...(await driversOf(home)))
  return found
}

/** Whether a home's driver may be fetched for a request. A name that is not a driver kind only selects among available
 * adapters. A GPU without a Vulkan loader, as in many containers, works with the loader that comes with lavapipe.
 * @param {'lavapipe' | 'swiftshader'} home @param {string} wanted */
function mayFetch(home, wanted) {
  return wanted === '' || wanted === home || (wanted === 'hardware' && home === 'lavapipe' && gpuNodes().length > 0)
}

/** Chooses a driver, and fetches one if the machine has none. Throws `AdapterError` if there is none for the request.
 * @param {string} [name] a driver kind or part of an adapter's description; `WEBGPU_SSL_ADAPTER` by default
 * @returns {Promise<Driver>} */
export async function chooseDriver(name = process.env.WEBGPU_SSL_ADAPTER) {
  const wanted = name?.toLowerCase() ?? ''
  const reasons = []
  for (const home of homes) {
    if (home !== 'machine' && mayFetch(home, wanted)) {
      const reason = await ensureFetched(home, wanted === home)
      if (reason) reasons.push(`${home}: ${reason}`)
    }
    const chosen = (await driversOf(home)).find((driver) => !wanted || matchesName(wanted, driver))
    if (chosen) return chosen
  }
  const why = reasons.length ? ` (${reasons.join('; ')})` : ''
  if (wanted)
    throw new AdapterError(`No WebGPU adapter matches '${name}'${why}: \`npm run doctor\` lists the available ones.`)
  const remedy =
    process.platform === 'linux'
      ? 'install a Vulkan driver (Debian 13, Ubuntu 24.04 and later: apt install mesa-vulkan-drivers), or connect to the network once, so that a software driver can be fetched'
      : 'update the graphics driver'
  throw new AdapterError(`No WebGPU adapter${why}: ${remedy}.`)
}

// ---------------------------------------------------------------- activation

/** @type {DriverHome | undefined} */
let active

/** Mesa keeps compiled shaders on disk. Their names do not tell the width of lavapipe's vectors, so the code of one width
 * would run with another. */
function keepShadersApart() {
  const { LP_NATIVE_VECTOR_WIDTH: bits, MESA_SHADER_CACHE_DIR: chosen } = process.env
  if (bits && /^\d+$/.test(bits) && !chosen) process.env.MESA_SHADER_CACHE_DIR = join(openCache(), `shaders-${bits}`)
}

/** Makes this process use a home's driver. Call it once, before Dawn's first request for an adapter. Environment
 * variables tell Vulkan's loader about the driver. The loader and all libraries of the driver are loaded here by full
 * path, after which glibc resolves their sonames to the loaded copies. So no LD_LIBRARY_PATH is needed, which would
 * need a restart of the process.
 * @param {DriverHome} home */
export function activateDriver(home) {
  if (active === home) return
  keepShadersApart()
  if (active)
    throw new AdapterError(`This process already uses the ${active} driver: start another process for ${home}.`)
  if (home === 'machine') {
    active = home
    return
  }
  const folder = driverFolder(home)
  // If there is a GPU, the fetched loader also gets the system's drivers.
  const manifests = [
    ...(home === 'lavapipe' && gpuNodes().length
      ? vulkanManifests().filter((path) => !/lvp|swiftshader/.test(path))
      : []),
    join(folder, 'icd.json'),
  ].join(':')
  // The first two are the old and the new name of one variable. The system's layers may not fit a fetched driver.
  Object.assign(process.env, {
    VK_ICD_FILENAMES: manifests,
    VK_DRIVER_FILES: manifests,
    VK_LOADER_LAYERS_DISABLE: '~implicit~',
    NODEVICE_SELECT: '1',
  })
  const noDelete = 0x1000 // RTLD_NODELETE, missing in Node's constants: the library stays loaded after dlopen's error below
  for (const library of readDriverRecord(folder)?.preload ?? []) {
    try {
      process.dlopen({ exports: {} }, join(folder, 'lib', library), constants.dlopen.RTLD_NOW | noDelete)
    } catch (error) {
      // This error is expected: none of the libraries is a Node module.
      if (!/did not self-register/.test(/** @type {Error} */ (error).message))
        throw new AdapterError(
          `The ${home} driver does not load (${/** @type {Error} */ (error).message}): delete ${folder}, and it is fetched again.`,
        )
    }
  }
  active = home
}

if (process.argv[2] === 'probe' && process.argv[1] === fileURLToPath(import.meta.url)) {
  await probe(/** @type {DriverHome} */ (process.argv[3]))
}
