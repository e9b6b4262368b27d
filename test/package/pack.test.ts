import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { extract } from 'tar'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { npmCommand } from '../../engine/node/fetch.mjs'
import { encodeRecords } from '../../train/data/cifar_records.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const consumer = fileURLToPath(new URL('consumer/', import.meta.url))
const run = promisify(execFile)
let project: string
let installed: string

/** The packed tarball in an empty project; its dependencies are this checkout's, so that no network is needed. */
beforeAll(async () => {
  project = await realpath(await mkdtemp(join(tmpdir(), 'webgpu-ssl-pack-')))
  const npm = npmCommand()
  await run(npm.command, [...npm.args, 'pack', '--pack-destination', project], { cwd: root, shell: npm.shell })
  const [tarball] = readdirSync(project).filter((file) => file.endsWith('.tgz'))
  installed = join(project, 'node_modules', 'webgpu-ssl')
  await mkdir(installed, { recursive: true })
  await extract({ file: join(project, tarball), cwd: installed, strip: 1 })
  const { dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as { dependencies: object }
  for (const name of [...Object.keys(dependencies), '@types/node']) {
    const link = join(project, 'node_modules', name)
    await mkdir(dirname(link), { recursive: true })
    await symlink(join(root, 'node_modules', name), link, 'junction')
  }
  await writeFile(join(project, 'package.json'), '{ "type": "module", "private": true }\n')
  for (const file of readdirSync(consumer)) await writeFile(join(project, file), readFileSync(join(consumer, file)))
})

afterAll(() => rm(project, { recursive: true, force: true }))

test('the tarball holds modules, types, every shader and the licence, and nothing of the workshop', () => {
  const files = readdirSync(installed, { recursive: true, encoding: 'utf8' }).map((file) => file.replaceAll('\\', '/'))
  const shaders = readdirSync(join(root, 'shaders')).map((file) => `dist/shaders/${file}`)
  expect(files).toEqual(
    expect.arrayContaining(['LICENSE', 'package.json', 'dist/train/web/watch/index.html', ...shaders]),
  )
  // Browsers load the scripts of train/web; nobody imports them.
  for (const file of files.filter((name) => /^dist.*\.m?js$/.test(name) && !name.startsWith('dist/train/web/')))
    expect(files).toContain(file.replace(/\.(m?)js$/, '.d.$1ts'))
  expect(files.filter((file) => /(^|\/)test\/|^(bench|runs)\/|(?<!\.d)\.m?ts$/.test(file))).toEqual([])
  const { exports } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as {
    exports: Record<string, string | object>
  }
  for (const target of Object.values(exports).flatMap((entry) =>
    typeof entry === 'string' ? entry : Object.values(entry),
  ))
    if (!target.includes('*')) expect(existsSync(join(installed, target)), target).toBe(true)
})

test('matmul and conv2d run on a device of the project, under plain node', async () => {
  const { stdout } = await run(process.execPath, ['kernels.mjs'], {
    cwd: project,
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  const result = JSON.parse(stdout) as Record<'matmul' | 'conv2d', { numbers: number; worst: number }>
  expect(result.matmul.numbers).toBe(13 * 7)
  expect(result.conv2d.numbers).toBe(2 * 3 * 4 * 5)
  expect(result.matmul.worst).toBeLessThan(1e-5)
  expect(result.conv2d.worst).toBeLessThan(1e-5)
})

/** Runs the package's command in the project. */
const command = (...args: string[]) =>
  new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const { bin } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as { bin: Record<string, string> }
    const env = { ...process.env, NODE_OPTIONS: '' }
    execFile(
      process.execPath,
      [join(installed, bin['webgpu-ssl']), ...args],
      { cwd: project, env },
      (error, out, err) => resolve({ code: error ? Number(error.code) : 0, stdout: out, stderr: err }),
    )
  })

test('every command has its script in the package', async () => {
  const { stdout } = await command('--help')
  const names = [...stdout.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name)
  expect(names).toContain('watch')
  for (const name of names) expect(await command(name, '--help'), name).toMatchObject({ code: 0, stderr: '' })
})

test('the command pretrains with compiled code, and a benchmark that needs a clone says so', async () => {
  const pixels = Uint8Array.from({ length: 16 * 3072 }, (_, i) => (i * 7919) % 251)
  const labels = Array.from({ length: 16 }, () => 1)
  await writeFile(join(project, 'data_batch_1.bin'), encodeRecords(pixels, labels))
  const tiny = ['--data-dir', '.', '--width', '4', '--image-size', '8', '--views', '2', '--projector-dim', '8']
  const ended = await command('pretrain', ...tiny, '--batch', '8', '--epochs', '1', '--out', 'run', '--no-tune')
  expect(ended, ended.stderr).toMatchObject({ code: 0 })
  expect(ended.stderr).not.toContain('maxDynamic')
  expect(readdirSync(join(project, 'run'))).toEqual(
    expect.arrayContaining(['metrics.jsonl', 'report.html', 'views.png']),
  )
  expect(await command('bench', 'peers')).toEqual({
    code: 1,
    stdout: '',
    stderr: 'error: peers: needs files and packages that only a clone of the repository has: run it there\n',
  })
})

test.each([
  ['the kernels, without types of Node', 'tsconfig.json'],
  ['the main entry', 'tsconfig.node.json'],
])('a strict project type-checks against %s, and mistakes do not pass', async (_, config) => {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const errors = await run(process.execPath, [tsc, '-p', config], { cwd: project }).then(
    ({ stdout }) => stdout,
    (error: { stdout: string }) => error.stdout,
  )
  expect(errors).toBe('')
})
