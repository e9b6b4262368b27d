import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { publint } from 'publint'
import { beforeAll, expect, test } from 'vitest'
import { encodeRecords } from '../../train/data/cifar_records.js'
import { installedProject, root } from './project.js'

const run = promisify(execFile)
let project: string
let installed: string
let tarball: string

beforeAll(async () => {
  ;({ folder: project, installed, tarball } = await installedProject())
})

test('the tarball holds modules, types, every shader and the licence, and nothing of the workshop', () => {
  const files = readdirSync(installed, { recursive: true, encoding: 'utf8' }).map((file) => file.replaceAll('\\', '/'))
  const shaders = readdirSync(join(root, 'shaders')).map((file) => `dist/shaders/${file}`)
  expect(files).toEqual(
    expect.arrayContaining([
      'LICENSE',
      'package.json',
      'dist/train/web/watch/index.html',
      'dist/engine/node/equal_gpus.c',
      ...shaders,
    ]),
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

test('an entry loads only the packages that it uses', async () => {
  const packages: Record<string, string[]> = {}
  const rows = ['entry                 own MB   other packages (MB)']
  for (const entry of [
    'webgpu-ssl',
    'webgpu-ssl/train',
    'webgpu-ssl/models',
    'webgpu-ssl/engine',
    'webgpu-ssl/kernels',
  ]) {
    const { stdout } = await run(process.execPath, ['loaded.mjs', entry], { cwd: project })
    const { 'webgpu-ssl': own, ...others } = JSON.parse(stdout) as Record<string, number>
    packages[entry] = Object.keys(others).sort()
    const named = Object.entries(others).map(([name, bytes]) => `${name} ${(bytes / 1e6).toFixed(2)}`)
    rows.push(`${entry.padEnd(20)}  ${(own / 1e6).toFixed(2).padStart(6)}   ${named.join(', ') || 'none'}`)
  }
  console.log(rows.join('\n'))
  const training = ['gl-matrix', 'ml-matrix', 'yaml', 'zod']
  expect(packages).toEqual({
    'webgpu-ssl': training,
    'webgpu-ssl/train': training,
    'webgpu-ssl/models': [],
    'webgpu-ssl/engine': [],
    'webgpu-ssl/kernels': [],
  })
})

test('a package that the modules name is a dependency, and every dependency is named', () => {
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as {
    dependencies: object
    optionalDependencies: object
  }
  const named =
    /^(?:import|export|\}).* from '([^'.][^']*)'|\bimport(?:\.meta\.resolve)?\('([^'.][^']*)'\)|types="([^"]+)"/gm
  const names = readdirSync(join(installed, 'dist'), { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(m?js|d\.m?ts)$/.test(file))
    .flatMap((file) => [...readFileSync(join(installed, 'dist', file), 'utf8').matchAll(named)])
    .map((match) => /^(?:@[^/]+\/)?[^/]+/.exec(match[1] ?? match[2] ?? match[3])![0])
    .filter((name) => !name.startsWith('node:'))
  // Only code that runs in a clone uses tsx.
  expect([...new Set(names)].sort()).toEqual(
    [...Object.keys({ ...dependencies, ...optionalDependencies }), 'tsx'].sort(),
  )
})

test('no file of a dependency is in the tarball', () => {
  expect(
    readdirSync(installed, { recursive: true, encoding: 'utf8' }).filter((f) => f.includes('node_modules')),
  ).toEqual([])
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

test('publint and arethetypeswrong find nothing wrong', async () => {
  const { messages } = await publint({ pkgDir: installed, strict: true })
  expect(messages).toEqual([])
  const checked = await checkPackage(createPackageFromTarballData(readFileSync(tarball)))
  // The package is ESM only, as `"type": "module"` and its `exports` say: `require` and TypeScript's node10 are left out.
  const problems = checked.types ? checked.problems : ['no types']
  const left = problems.filter((problem) => {
    const resolution = typeof problem === 'object' && 'resolutionKind' in problem ? problem.resolutionKind : undefined
    return resolution !== 'node10' && resolution !== 'node16-cjs'
  })
  expect(left).toEqual([])
})

// No entry needs the types of Node.
test.each([
  ['NodeNext', 'NodeNext'],
  ['ESNext', 'Bundler'],
])('a strict project with module %s type-checks against every entry, and mistakes do not pass', async (module, by) => {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const strict = { strict: true, skipLibCheck: false, types: [], noEmit: true, target: 'ES2022' }
  const compilerOptions = { ...strict, module, moduleResolution: by }
  const files = ['kernels.ts', 'pretraining.ts', 'browser.ts']
  await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
  const errors = await run(process.execPath, [tsc, '-p', '.'], { cwd: project }).then(
    ({ stdout }) => stdout,
    (error: { stdout: string }) => error.stdout,
  )
  expect(errors).toBe('')
})
