/** The packed package in a project of its own, made once for all tests. */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { mkdir, mkdtemp, realpath, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { extract } from 'tar'
import { npmCommand } from '../../engine/node/fetch.mjs'

export const root = fileURLToPath(new URL('../../', import.meta.url))
const consumer = fileURLToPath(new URL('consumer/', import.meta.url))

export interface Project {
  /** The folder of the project, with the files of `consumer/`. */
  folder: string
  /** The folder of the installed package. */
  installed: string
  tarball: string
}

let made: Promise<Project> | undefined

/** The project. Its dependencies are links to this checkout's, so that no network is needed. */
export const installedProject = (): Promise<Project> => (made ??= make())

async function make(): Promise<Project> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'webgpu-ssl-pack-')))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const npm = npmCommand()
  const pack = [...npm.args, 'pack', '--pack-destination', folder]
  await promisify(execFile)(npm.command, pack, { cwd: root, shell: npm.shell })
  const [name] = readdirSync(folder).filter((file) => file.endsWith('.tgz'))
  const tarball = join(folder, name)
  const installed = join(folder, 'node_modules', 'webgpu-ssl')
  await mkdir(installed, { recursive: true })
  await extract({ file: tarball, cwd: installed, strip: 1 })
  const { dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as { dependencies: object }
  for (const dependency of Object.keys(dependencies)) {
    const link = join(folder, 'node_modules', dependency)
    await mkdir(dirname(link), { recursive: true })
    await symlink(join(root, 'node_modules', dependency), link, 'junction')
  }
  await writeFile(join(folder, 'package.json'), '{ "type": "module", "private": true }\n')
  for (const file of readdirSync(consumer)) await writeFile(join(folder, file), readFileSync(join(consumer, file)))
  return { folder, installed, tarball }
}
