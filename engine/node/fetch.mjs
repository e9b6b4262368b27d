// Fetches software drivers into the cache folder: Mesa's lavapipe from the machine's own Debian or Ubuntu archive,
// SwiftShader from an npm package. It needs no root and writes no file of the system.
// Node built-ins only: the launcher runs this before `npm ci` has installed anything.
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { access, copyFile, mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'

/** @typedef {{ update(text: string): void, end(text: string): void }} ProgressLine */
/** @typedef {{ uris: string, suites: string[], components: string, signedBy: string, trusted: string }} AptSource */

const SWIFTSHADER = {
  spec: '@sparticuz/chromium@153.0.0',
  integrity: 'sha512-jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==',
}

/** A progress line on stderr. A terminal shows every update; otherwise only the first and the last text are printed.
 * @param {string} title @returns {ProgressLine} */
export function progressLine(title) {
  const tty = process.stderr.isTTY === true
  process.stderr.write(tty ? title : `${title}\n`)
  const show = (/** @type {string} */ text) => process.stderr.write(`\r${title}: ${text}\x1b[K`)
  return {
    update: (text) => {
      if (tty) show(text)
    },
    end: (text) => {
      if (tty) show(`${text}\n`)
      else process.stderr.write(`${title}: ${text}\n`)
    },
  }
}

/** Runs a command and resolves with its stdout; rejects with the last line of its stderr.
 * @param {string} command @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, shell?: boolean }} options @returns {Promise<string>} */
function output(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    let err = ''
    child.stdout.on('data', (data) => {
      out += data
    })
    child.stderr.on('data', (data) => {
      err += data
    })
    child.on('error', (error) => reject(new Error(`${command}: ${error.message}`)))
    child.on('close', (code) => {
      if (code === 0) resolve(out)
      else reject(new Error(`${command} ${args[0]} failed: ${err.trim().split('\n').pop() || `exit code ${code}`}`))
    })
  })
}

/** Builds a folder beside `target` and renames it to `target` when it is complete. Readers see all of it or nothing, and
 * two processes cannot mix their files: the slower one drops its copy.
 * @param {string} target @param {(temporary: string) => Promise<void>} build */
export async function buildFolder(target, build) {
  const parent = dirname(target)
  await mkdir(parent, { recursive: true })
  await sweepAbandoned(parent)
  const temporary = join(parent, `.tmp-${basename(target)}-${randomBytes(6).toString('hex')}`)
  try {
    await mkdir(temporary)
    await build(temporary)
    await rename(temporary, target).catch(async (error) => {
      if (!['ENOTEMPTY', 'EEXIST', 'EPERM'].includes(error.code)) throw error
      await access(target)
    })
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

/** Removes the remains of interrupted fetches, which are older than an hour. @param {string} parent */
async function sweepAbandoned(parent) {
  for (const name of await readdir(parent)) {
    if (!name.startsWith('.tmp-')) continue
    const info = await stat(join(parent, name)).catch(() => undefined)
    if (info && Date.now() - info.mtimeMs > 3_600_000) await rm(join(parent, name), { recursive: true, force: true })
  }
}

// ---------------------------------------------------------------- lavapipe, through apt

/** Reads apt sources in both formats: deb822 stanzas (`.sources`), or lines that begin with `deb` (`.list`). Source
 * packages and disabled stanzas are left out. @param {string} text @returns {AptSource[]} */
export function parseAptSources(text) {
  const lines = text.split('\n').filter((line) => !line.startsWith('#'))
  const oneLine = lines.flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line)
    if (!match) return []
    const option = (/** @type {string} */ name) => new RegExp(`(?:^|\\s)${name}=(\\S+)`).exec(match[1] ?? '')?.[1] ?? ''
    return [
      {
        uris: match[2],
        suites: [match[3]],
        components: match[4].trim(),
        signedBy: option('signed-by'),
        trusted: option('trusted'),
      },
    ]
  })
  const stanzas = lines
    .join('\n')
    .split(/\n\s*\n/)
    .flatMap((stanza) => {
      /** @type {Map<string, string>} */
      const fields = new Map()
      let name = ''
      for (const line of stanza.split('\n')) {
        const field = /^([A-Za-z0-9-]+):\s*(.*)$/.exec(line)
        if (field) fields.set((name = field[1].toLowerCase()), field[2].trim())
        else if (name && /^\s/.test(line)) fields.set(name, `${fields.get(name)}\n${line}`)
      }
      const field = (/** @type {string} */ key) => fields.get(key) ?? ''
      const words = (/** @type {string} */ key) => field(key).split(/\s+/).filter(Boolean)
      if (!words('types').includes('deb') || /^(no|false|0|off)/i.test(field('enabled'))) return []
      return [
        {
          uris: words('uris').join(' '),
          suites: words('suites'),
          components: words('components').join(' '),
          signedBy: field('signed-by'),
          trusted: field('trusted'),
        },
      ]
    })
  return [...oneLine, ...stanzas]
}

/** Reads the shell-like `/etc/os-release`. @param {string} text @returns {Record<string, string>} */
export function parseOsRelease(text) {
  return Object.fromEntries([...text.matchAll(/^([A-Z_]+)="?([^"\n]*)"?$/gm)].map((match) => [match[1], match[2]]))
}

/** Dawn does not accept the Mesa of Debian 12, but that of its backports suite. @param {Record<string, string>} release */
function needsBackports(release) {
  return release.ID === 'debian' && release.VERSION_ID === '12'
}

/** The distribution's own archive among all sources, as deb822 text. Archives of third parties are not needed, and would
 * take time. The backports suite is added if needed.
 * @param {AptSource[]} sources @param {Record<string, string>} release fields of os-release @returns {string} */
export function archiveSources(sources, release) {
  const codename = release.VERSION_CODENAME ?? ''
  const aliases = release.ID === 'debian' ? ['stable', 'testing', 'unstable', 'sid'] : []
  const suites = [codename, ...aliases]
    .filter(Boolean)
    .flatMap((name) => ['', '-updates', '-security', '-backports'].map((end) => name + end))
  const own = sources
    .map((source) => ({ ...source, suites: source.suites.filter((suite) => suites.includes(suite)) }))
    .filter((source) => source.suites.length > 0)
  const backports = `${codename}-backports`
  const base = own.find((source) => source.suites.includes(codename))
  if (needsBackports(release) && base && !own.some((source) => source.suites.includes(backports))) {
    own.push({ ...base, suites: [backports], components: 'main' })
  }
  return (
    own
      .map((source) =>
        [
          'Types: deb',
          `URIs: ${source.uris}`,
          `Suites: ${source.suites.join(' ')}`,
          `Components: ${source.components}`,
          ...(source.signedBy ? [`Signed-By: ${source.signedBy}`] : []),
          ...(source.trusted ? [`Trusted: ${source.trusted}`] : []),
        ].join('\n'),
      )
      .join('\n\n') + '\n'
  )
}

/** The packages of `apt-cache depends --recurse` that may contain libraries of the driver. The C and C++ runtimes are
 * left out: those of the system are used, because node itself uses them. @param {string} listing @returns {string[]} */
export function libraryPackages(listing) {
  const names = listing.split('\n').filter((line) => /^(lib|mesa-|zlib)[a-z0-9.+-]*$/.test(line))
  return [...new Set(names)].filter(
    (name) => !/^(libc6|libgcc-s1|libstdc\+\+6|libpython.*|libperl.*|lib.*-(common|data|bin))$/.test(name),
  )
}

/** The DT_NEEDED entries of a little-endian 64-bit ELF library (System V ABI, chapter 5).
 * @param {Buffer} file @returns {string[]} */
export function neededLibraries(file) {
  if (file.readUInt32BE(0) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1)
    throw new Error('not a 64-bit little-endian ELF file')
  const at = (/** @type {number} */ offset) => Number(file.readBigUInt64LE(offset))
  const headers = Array.from({ length: file.readUInt16LE(56) }, (_, i) => at(32) + i * file.readUInt16LE(54)).map(
    (base) => ({ type: file.readUInt32LE(base), offset: at(base + 8), address: at(base + 16), size: at(base + 32) }),
  )
  const dynamic = headers.find((header) => header.type === 2)
  if (!dynamic) return []
  const names = []
  let strings = 0
  for (let entry = dynamic.offset; entry < dynamic.offset + dynamic.size && at(entry) !== 0; entry += 16) {
    if (at(entry) === 1) names.push(at(entry + 8))
    if (at(entry) === 5) strings = at(entry + 8)
  }
  const segment = headers.find(
    (header) => header.type === 1 && strings >= header.address && strings < header.address + header.size,
  )
  const table = segment ? strings - segment.address + segment.offset : strings
  return names.map((name) => file.toString('latin1', table + name, file.indexOf(0, table + name)))
}

/** Libraries in load order: each after all that it needs.
 * @param {string[]} roots @param {(name: string) => string[]} needs @returns {string[]} */
export function loadOrder(roots, needs) {
  /** @type {Set<string>} */
  const done = new Set()
  const visiting = new Set()
  const visit = (/** @type {string} */ name) => {
    if (done.has(name) || visiting.has(name)) return
    visiting.add(name)
    needs(name).forEach(visit)
    done.add(name)
  }
  roots.forEach(visit)
  return [...done]
}

/** Fetches Mesa's lavapipe and the Vulkan loader into `target`: `lib/`, `icd.json` and `driver.json`, which lists
 * the libraries in load order. Throws if apt or the packages are missing. @param {string} target */
export async function fetchLavapipe(target) {
  const release = parseOsRelease(await readFile('/etc/os-release', 'utf8').catch(() => ''))
  const lists = await Promise.all(
    [
      ['/etc/apt', /^sources\.list$/],
      ['/etc/apt/sources.list.d', /\.(list|sources)$/],
    ].map(async ([folder, pattern]) => {
      const names = await readdir(/** @type {string} */ (folder)).catch(() => /** @type {string[]} */ ([]))
      return Promise.all(
        names
          .filter((name) => /** @type {RegExp} */ (pattern).test(name))
          .map((name) => readFile(join(/** @type {string} */ (folder), name), 'utf8')),
      )
    }),
  )
  const sources = archiveSources(lists.flat().flatMap(parseAptSources), release)
  if (!sources.trim()) throw new Error('lavapipe is fetched through apt, which needs Debian or Ubuntu')
  const line = progressLine('Fetching the software driver lavapipe through apt (about 55 MB, once)')
  const started = Date.now()
  try {
    await buildFolder(target, (folder) => installLavapipe(folder, sources, release, line))
    line.end(`done in ${((Date.now() - started) / 1000).toFixed(0)} s`)
  } catch (error) {
    line.end(`not available (${/** @type {Error} */ (error).message})`)
    throw error
  }
}

/** @param {string} folder @param {string} sources @param {Record<string, string>} release @param {ProgressLine} line */
async function installLavapipe(folder, sources, release, line) {
  const apt = join(folder, 'apt')
  const debs = join(apt, 'debs')
  const root = join(apt, 'root')
  for (const path of ['parts', 'sources', 'lists/partial', 'cache/archives/partial', 'debs', 'root'])
    await mkdir(join(apt, path), { recursive: true })
  await writeFile(join(apt, 'sources/archive.sources'), sources)
  // The machine's own settings (such as proxies) are kept, but not its hooks, which would act on the system.
  await writeFile(join(apt, 'apt.conf'), `Dir::Etc::Parts "${apt}/parts";\n`)
  await writeFile(
    join(apt, 'parts/10lavapipe.conf'),
    [
      '#include "/etc/apt/apt.conf.d/";',
      '#clear APT::Update::Pre-Invoke;',
      '#clear APT::Update::Post-Invoke;',
      '#clear APT::Update::Post-Invoke-Success;',
      'Dir::Etc::sourcelist "/dev/null";',
      `Dir::Etc::sourceparts "${apt}/sources";`,
      `Dir::State::lists "${apt}/lists";`,
      `Dir::Cache "${apt}/cache";`,
      'Debug::NoLocking "1";',
      'Acquire::Languages "none";',
      'Acquire::Retries "2";',
      'Acquire::http::Timeout "20";',
      ...(process.getuid?.() === 0 ? ['APT::Sandbox::User "root";'] : []),
      ...(needsBackports(release) ? [`APT::Default-Release "${release.VERSION_CODENAME}-backports";`] : []),
    ].join('\n') + '\n',
  )
  const env = { ...process.env, APT_CONFIG: join(apt, 'apt.conf'), LC_ALL: 'C' }

  line.update('package lists')
  await output('apt-get', ['update'], { env })
  // `update` also succeeds if it has reached no archive.
  const suite = needsBackports(release) ? `_${release.VERSION_CODENAME}-backports_` : ''
  const lists = (await readdir(join(apt, 'lists'))).filter((name) => name.includes('_Packages') && name.includes(suite))
  if (lists.length === 0) throw new Error('the archive of the distribution cannot be reached')
  const listing = await output(
    'apt-cache',
    [
      'depends',
      '--recurse',
      '--no-recommends',
      '--no-suggests',
      '--no-conflicts',
      '--no-breaks',
      '--no-replaces',
      '--no-enhances',
      'mesa-vulkan-drivers',
      'libvulkan1',
    ],
    { env },
  )
  const packages = libraryPackages(listing)
  const sizes = [
    ...(await output('apt-get', ['download', '--print-uris', ...packages], { env, cwd: debs })).matchAll(
      / (\d+) \S+$/gm,
    ),
  ]
  const total = sizes.reduce((sum, match) => sum + Number(match[1]), 0)
  const timer = setInterval(async () => {
    const files = await readdir(debs).catch(() => [])
    const here = await Promise.all(
      files.map((name) =>
        stat(join(debs, name)).then(
          (info) => info.size,
          () => 0,
        ),
      ),
    )
    line.update(`${Math.min(99, Math.floor((100 * here.reduce((sum, size) => sum + size, 0)) / (total || 1)))} %`)
  }, 250)
  try {
    await output('apt-get', ['download', ...packages], { env, cwd: debs })
  } finally {
    clearInterval(timer)
  }

  line.update('unpacking')
  for (const name of await readdir(debs)) await output('dpkg', ['-x', join(debs, name), root])
  await keepLibraries(root, folder, ['libvulkan_lvp.so', 'libvulkan.so.1'])
  await rm(apt, { recursive: true })
}

/** Copies the libraries that `roots` need from an unpacked tree into `folder/lib`, without subfolders and under their
 * sonames. Writes the two JSON files beside it. @param {string} tree @param {string} folder @param {string[]} roots */
async function keepLibraries(tree, folder, roots) {
  /** @type {Map<string, string>} */
  const found = new Map()
  for (const entry of await readdir(tree, { recursive: true, withFileTypes: true })) {
    if (!entry.isDirectory() && /\.so(\.|$)/.test(entry.name))
      found.set(entry.name, join(entry.parentPath ?? entry.path, entry.name))
  }
  /** @type {Map<string, string[]>} */
  const needs = new Map()
  const queue = [...roots]
  await mkdir(join(folder, 'lib'))
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    const path = found.get(name)
    if (needs.has(name)) continue
    if (!path && roots.includes(name)) throw new Error(`${name} is not in the packages`)
    if (!path) continue // the system's own C or C++ runtime
    const needed = neededLibraries(await readFile(path)).filter((library) => found.has(library))
    needs.set(name, needed)
    queue.push(...needed)
    await copyFile(path, join(folder, 'lib', name))
  }
  await writeManifests(
    folder,
    roots[0],
    loadOrder(roots, (name) => needs.get(name) ?? []),
  )
}

/** @param {string} folder @param {string} driver library name @param {string[]} preload */
async function writeManifests(folder, driver, preload) {
  // The library path is relative to the manifest, so that the folder can be moved.
  await writeFile(
    join(folder, 'icd.json'),
    JSON.stringify(
      { file_format_version: '1.0.0', ICD: { library_path: `./lib/${driver}`, api_version: '1.1.0' } },
      null,
      2,
    ) + '\n',
  )
  await writeFile(join(folder, 'driver.json'), JSON.stringify({ preload }, null, 2) + '\n')
}

// ---------------------------------------------------------------- SwiftShader, through npm

/** Reads the regular files of a tar archive (POSIX ustar). @param {Buffer} tar @returns {Map<string, Buffer>} */
export function readTar(tar) {
  const text = (/** @type {number} */ from, /** @type {number} */ length) =>
    tar.toString('utf8', from, from + length).replace(/\0.*$/s, '')
  /** @type {Map<string, Buffer>} */
  const files = new Map()
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0;) {
    const size = parseInt(text(at + 124, 12).trim(), 8)
    if (Number.isNaN(size) || at + 512 + size > tar.length) throw new Error('truncated tar archive')
    const prefix = text(at + 257, 5) === 'ustar' ? text(at + 345, 155) : ''
    const type = text(at + 156, 1)
    if (type === '' || type === '0')
      files.set(prefix ? `${prefix}/${text(at, 100)}` : text(at, 100), tar.subarray(at + 512, at + 512 + size))
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}

/** How to start npm: by the path that npm gives its scripts, else by name (a `.cmd` file on Windows).
 * @returns {{ command: string, args: string[], shell: boolean }} */
export function npmCommand() {
  const path = process.env.npm_execpath
  if (path && /^npm(-cli)?\.[cm]?js$/.test(basename(path)))
    return { command: process.execPath, args: [path], shell: false }
  return { command: 'npm', args: [], shell: process.platform === 'win32' }
}

/** Fetches SwiftShader into `target`, with the same files as `fetchLavapipe`. Throws if the package does not fit the
 * machine or cannot be fetched. @param {string} target */
export async function fetchSwiftShader(target) {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Error('the SwiftShader package is only for 64-bit x86 Linux')
  const line = progressLine('Fetching the software driver SwiftShader through npm (about 70 MB, once)')
  const started = Date.now()
  try {
    await buildFolder(target, async (folder) => {
      const npm = npmCommand()
      const timer = setInterval(() => line.update(`${((Date.now() - started) / 1000).toFixed(0)} s`), 500)
      await output(
        npm.command,
        [
          ...npm.args,
          'pack',
          SWIFTSHADER.spec,
          '--pack-destination',
          folder,
          '--silent',
          '--fetch-retries=1',
          '--fetch-retry-mintimeout=1000',
          '--fetch-timeout=60000',
        ],
        { cwd: folder, shell: npm.shell },
      ).finally(() => clearInterval(timer))
      const [name] = (await readdir(folder)).filter((file) => file.endsWith('.tgz'))
      const tarball = await readFile(join(folder, name))
      const digest = `sha512-${createHash('sha512').update(tarball).digest('base64')}`
      if (digest !== SWIFTSHADER.integrity)
        throw new Error(`${SWIFTSHADER.spec} is not the expected package: its checksum differs`)
      const packed = readTar(gunzipSync(tarball)).get('package/bin/swiftshader.tar.br')
      if (!packed) throw new Error(`${SWIFTSHADER.spec} does not contain SwiftShader`)
      const files = readTar(brotliDecompressSync(packed))
      const preload = ['libvulkan.so.1', 'libvk_swiftshader.so']
      await mkdir(join(folder, 'lib'))
      for (const library of preload) {
        const content = files.get(library)
        if (!content) throw new Error(`${SWIFTSHADER.spec} does not contain ${library}`)
        await writeFile(join(folder, 'lib', library), content)
      }
      await writeManifests(folder, 'libvk_swiftshader.so', preload)
      await rm(join(folder, name))
    })
    line.end(`done in ${((Date.now() - started) / 1000).toFixed(0)} s`)
  } catch (error) {
    line.end(`not available (${/** @type {Error} */ (error).message})`)
    throw error
  }
}
