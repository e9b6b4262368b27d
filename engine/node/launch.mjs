// node engine/node/launch.mjs SCRIPT.ts [arguments…]    runs a script of this repository
// node engine/node/launch.mjs --vitest [arguments…]     runs the tests
// It works as the first command in a fresh clone: it installs the packages if they are missing or out of date, finds or
// fetches a WebGPU adapter, and starts the script. In an installed package `webgpu-ssl` starts compiled scripts with it.
// Node built-ins only. Its own output goes to stderr; stdout belongs to the script.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, fstatSync, readFileSync } from 'node:fs'
import { availableParallelism, constants } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { withoutDriverLines } from './driver_lines.mjs'
import { chooseDriver } from './drivers.mjs'
import { npmCommand } from './fetch.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** Whether this is a clone of the repository, and not the installed package. */
const isClone = existsSync(join(root, 'package-lock.json'))
/** Milliseconds in which a process that has ended passes on the last that was written to its stderr. */
const LAST_WORDS_MS = 500

/** @param {string} version such as '20.17.0' @returns {boolean} whether it is 20.17 or later */
export function nodeIsRecent(version) {
  const [major, minor] = version.split('.').map(Number)
  return major > 20 || (major === 20 && minor >= 17)
}

/** Whether the installed packages are those of package-lock.json, by npm's own record; file times mean little after a
 * checkout. Optional packages may be absent, because they belong to other systems.
 * @param {string} lockText package-lock.json @param {string} installedText node_modules/.package-lock.json, or '' */
export function installIsCurrent(lockText, installedText) {
  if (!installedText) return false
  const wanted = JSON.parse(lockText).packages
  const installed = JSON.parse(installedText).packages
  return Object.keys(wanted).every(
    (path) =>
      path === '' || wanted[path].optional || wanted[path].link || installed[path]?.version === wanted[path].version,
  )
}

/** The value of `--adapter NAME` or `--adapter=NAME` among a script's arguments. @param {string[]} args */
export function adapterArgument(args) {
  const at = args.findIndex((arg) => arg === '--adapter' || arg.startsWith('--adapter='))
  if (at < 0) return undefined
  return args[at].includes('=') ? args[at].slice('--adapter='.length) : args[at + 1]
}

/** Runs a command to its end and resolves with its exit code. A Ctrl-C in a terminal reaches the child directly; without
 * a terminal the signal is passed on. In both cases the child decides when to end.
 * @param {string} command @param {string[]} args @param {import('node:child_process').SpawnOptions} options @returns {Promise<number>} */
function run(command, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, options)
    for (const signal of /** @type {NodeJS.Signals[]} */ (['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'])) {
      process.on(signal, () => {
        if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
      })
    }
    child.on('error', reject)
    const drained = child.stderr ? passOn(child.stderr) : Promise.resolve()
    child.on('exit', (code, signal) => {
      const end = () => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0))
      // A process that the child has left behind may hold the pipe open.
      const late = setTimeout(end, LAST_WORDS_MS)
      drained.then(() => {
        clearTimeout(late)
        end()
      })
    })
  })
}

/** Passes on what a child writes to its stderr, without the known lines of the driver.
 * @param {import('node:stream').Readable} stream @returns {Promise<void>} settled at the end of the stream */
function passOn(stream) {
  const filter = withoutDriverLines()
  // Nobody may be reading any more. The child goes on without.
  process.stderr.on('error', () => undefined)
  stream.on('data', (bytes) => void process.stderr.write(filter.push(bytes)))
  return new Promise((resolve) => {
    const end = () => {
      process.stderr.write(filter.end())
      resolve()
    }
    stream.on('end', end)
    stream.on('error', end)
  })
}

/** MPICH's launcher talks to each process through a descriptor, which the script must inherit.
 * @param {string | undefined} text @returns {{ fd: number, env: { PMI_FD: string } } | undefined} */
function launcherConnection(text) {
  if (text === undefined || !/^\d+$/.test(text)) return undefined
  const fd = Number(text)
  if (!isSocket(fd))
    throw new Error("npx does not pass on the connection to MPICH's mpirun: add -pmi-port to the options of mpirun")
  return { fd, env: { PMI_FD: '4' } }
}

/** @param {number} fd */
function isSocket(fd) {
  try {
    return fstatSync(fd).isSocket()
  } catch {
    return false
  }
}

async function installPackages() {
  if (!isClone) return
  const read = (/** @type {string} */ path) =>
    existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : ''
  if (installIsCurrent(read('package-lock.json'), read('node_modules/.package-lock.json'))) return
  process.stderr.write('Installing the packages of package-lock.json (npm ci, once)\n')
  const npm = npmCommand()
  // No package needs its install script here, and npm would warn about them first. Dawn's script only lifts a quarantine
  // of macOS.
  const code = await run(npm.command, [...npm.args, 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: root,
    shell: npm.shell,
    stdio: ['ignore', 2, 2],
  })
  if (code !== 0)
    throw new Error(`npm ci failed with exit code ${code}: see its message above. It needs the network once.`)
  if (process.platform === 'darwin') {
    const dawn = join(root, 'node_modules/webgpu/dist/darwin-universal/dawn.node')
    spawnSync('xattr', ['-d', 'com.apple.quarantine', dawn], { stdio: 'ignore' })
  }
}

/** Runs a script or the tests.
 * @param {string[]} args the script, or --vitest, and its arguments
 * @param {{ adapter?: boolean }} [options] adapter: whether the script needs an adapter; true by default
 * @returns {Promise<number>} exit code */
export async function launch(args, { adapter = true } = {}) {
  if (!nodeIsRecent(process.versions.node))
    throw new Error(
      `Node 20.17 or later is needed, but this is ${process.versions.node}: get it from https://nodejs.org.`,
    )
  const [target, ...rest] = args
  if (!target) throw new Error('Usage: node engine/node/launch.mjs SCRIPT.ts [arguments…] | --vitest [arguments…]')
  await installPackages()
  const name = adapterArgument(rest)
  // The doctor itself reports a missing adapter; watching and help need none.
  if (adapter && !/(doctor|watch)\.[jt]s$/.test(target) && !rest.includes('--help') && !rest.includes('-h'))
    await chooseDriver(name)
  const env = {
    // Images are decoded in libuv's thread pool, which has four threads by default, even on a machine with more cores.
    UV_THREADPOOL_SIZE: String(Math.max(4, availableParallelism())),
    ...process.env,
    ...(name && { WEBGPU_SSL_ADAPTER: name }),
  }
  if (target === '--vitest') {
    const command = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...rest]
    return run(process.execPath, command, { stdio: ['inherit', 'inherit', 'pipe'], env })
  }
  const preloads = [import.meta.resolve('./own_stderr.mjs'), ...(isClone ? [import.meta.resolve('tsx')] : [])]
  const mpi = launcherConnection(process.env.PMI_FD)
  return run(process.execPath, [...preloads.flatMap((url) => ['--import', url]), target, ...rest], {
    stdio: ['inherit', 'inherit', 'pipe', 2, ...(mpi ? [mpi.fd] : [])],
    env: { ...env, WEBGPU_SSL_STDERR: '3', ...mpi?.env },
  })
}

/** Runs a command to its end and sets the exit code. An error is one line. @param {() => Promise<number>} command */
export async function runToExit(command) {
  try {
    process.exitCode = await command()
  } catch (error) {
    process.stderr.write(`error: ${error instanceof Error ? error.message : error}\n`)
    process.exitCode = 1
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  await runToExit(() => launch(process.argv.slice(2)))
