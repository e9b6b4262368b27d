// Mesa's drivers, such as lavapipe, fetched from the Debian or Ubuntu archive of the machine through apt. No root is needed, and
// nothing of the system is written. Only Node built-ins: the launcher runs this before `npm ci` has installed anything.
import { copyFile, mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buildFolder, output, progressLine, writeManifests } from './fetch.mjs'

/** @typedef {import('./fetch.mjs').ProgressLine} ProgressLine */
/** @typedef {{ uris: string, suites: string[], components: string, signedBy: string, trusted: string }} AptSource */

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
export const fetchLavapipe = (target) => fetchMesa(target, 'libvulkan_lvp.so', 'the driver lavapipe')

/** Fetches Mesa's RADV for AMD GPUs in the same way. Its compiler also works without such a GPU.
 * @param {string} target */
export const fetchRadv = (target) => fetchMesa(target, 'libvulkan_radeon.so', 'the compiler of AMD GPUs')

/** @param {string} target @param {string} library of the driver @param {string} title for the progress line */
async function fetchMesa(target, library, title) {
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
  if (!sources.trim()) throw new Error(`${title} is fetched through apt, which needs Debian or Ubuntu`)
  const line = progressLine(`Fetching ${title} through apt (55 MB, once)`)
  const started = Date.now()
  try {
    await buildFolder(target, (folder) => installMesa(folder, library, sources, release, line))
    line.end(`done in ${((Date.now() - started) / 1000).toFixed(0)} s`)
  } catch (error) {
    line.end(`not available (${/** @type {Error} */ (error).message})`)
    throw error
  }
}

/** @param {string} folder @param {string} library @param {string} sources @param {Record<string, string>} release
 * @param {ProgressLine} line */
async function installMesa(folder, library, sources, release, line) {
  const apt = join(folder, 'apt')
  const env = await configureApt(apt, sources, release)
  line.update('package lists')
  const packages = await findPackages(apt, env, release)
  const debs = join(apt, 'debs')
  await downloadPackages(debs, env, packages, line)
  line.update('unpacking')
  const root = join(apt, 'root')
  for (const name of await readdir(debs)) await output('dpkg', ['-x', join(debs, name), root])
  await keepLibraries(root, folder, [library, 'libvulkan.so.1'])
  await rm(apt, { recursive: true })
}

/** Writes settings that make apt work in its own folder. Returns the environment that makes it read them.
 * @param {string} apt @param {string} sources @param {Record<string, string>} release @returns {Promise<NodeJS.ProcessEnv>} */
async function configureApt(apt, sources, release) {
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
  return { ...process.env, APT_CONFIG: join(apt, 'apt.conf'), LC_ALL: 'C' }
}

/** Fetches the package lists and names the packages of the driver.
 * @param {string} apt @param {NodeJS.ProcessEnv} env @param {Record<string, string>} release */
async function findPackages(apt, env, release) {
  await output('apt-get', ['update'], { env })
  // `update` also succeeds if it has reached no archive.
  const suite = needsBackports(release) ? `_${release.VERSION_CODENAME}-backports_` : ''
  const lists = (await readdir(join(apt, 'lists'))).filter((name) => name.includes('_Packages') && name.includes(suite))
  if (lists.length === 0) throw new Error('the archive of the distribution cannot be reached')
  const without = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map(
    (kind) => `--no-${kind}`,
  )
  return libraryPackages(
    await output('apt-cache', ['depends', '--recurse', ...without, 'mesa-vulkan-drivers', 'libvulkan1'], { env }),
  )
}

/** @param {string} debs @param {NodeJS.ProcessEnv} env @param {string[]} packages @param {ProgressLine} line */
async function downloadPackages(debs, env, packages, line) {
  const uris = await output('apt-get', ['download', '--print-uris', ...packages], { env, cwd: debs })
  const total = [...uris.matchAll(/ (\d+) \S+$/gm)].reduce((sum, match) => sum + Number(match[1]), 0)
  const sizeOf = (/** @type {string} */ name) =>
    stat(join(debs, name)).then(
      (info) => info.size,
      () => 0,
    )
  const timer = setInterval(async () => {
    const sizes = await Promise.all((await readdir(debs).catch(() => [])).map(sizeOf))
    const share = sizes.reduce((sum, size) => sum + size, 0) / (total || 1)
    line.update(`${Math.min(99, Math.floor(100 * share))} %`)
  }, 250)
  try {
    await output('apt-get', ['download', ...packages], { env, cwd: debs })
  } finally {
    clearInterval(timer)
  }
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
