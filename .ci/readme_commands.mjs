// node .ci/readme_commands.mjs CIFAR_SAMPLE WORK [TEXT]: runs every command of the READMEs, with sizes reduced where it is
// long; with TEXT only those that contain it. These are the commands of shell blocks, and those with arguments in the text.
// A command without an entry in `reduced`, and an entry without a command, is an error: whoever documents a command says
// here how to try it.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { parse, stringify } from 'yaml'

const [sample, work, text = ''] = process.argv.slice(2)
const data = ['--data-dir', sample]
const sizes = ['--width', '4', '--image-size', '8', '--batch', '8', '--projector-dim', '8', '--no-tune']
/** The sample, unless the command names its own data. @param {string[]} args */
const dataFor = (args) => (['--data', '--run', '--resume'].some((name) => args.includes(name)) ? [] : data)
/** @param {string} path */
const inRepository = (path) => path.includes('/') && existsSync(path)
const quick = ['--quick', '--rounds', '1', '--only']
const hasF16 = () =>
  /^ *has +shader-f16$/m.test(execFileSync('npm', ['run', '--silent', 'doctor'], { encoding: 'utf8' }))

/**
 * What to add to a command, by its name, or by its name and its first argument. null: it is run elsewhere in CI, or it
 * needs what this adapter lacks.
 *
 * @type {Record<string, string[] | ((args: string[]) => string[]) | null>}
 */
const reduced = {
  start: [...data, '--steps', '2', '--out', join(work, 'quickstart')],
  pretrain: (args) => [
    ...dataFor(args),
    ...(args.includes('--resume') ? ['--steps', '3'] : [...sizes, '--steps', '2']),
  ],
  probe: ['--per-class', '5', '--no-untrained'],
  embed: [],
  views: dataFor,
  watch: ['--port', '0'],
  web: data,
  export: [],
  data: [],
  'bench kernels': [...quick, 'matmul 256'],
  'bench peers': [...quick, 'matmul 256'],
  'bench step': [...quick, 'width 16'],
  'bench losses': null, // test/bench/speed/losses.test.ts
  'bench readout': null, // test/bench/speed/readout.test.ts
  get 'bench precision'() {
    return hasF16() ? ['--quick', ...data] : null
  },
  'bench scale': null, // test/bench/speed/scale.test.ts
  'bench trace': ['--rounds', '1'],
  'bench isa': null, // test/bench/speed/isa.test.ts
  'bench memory': null, // test/bench/speed/memory.test.ts
  'bench gpu': null, // test/bench/speed/gpu.test.ts
  'bench smoke': null, // a stage of bench gpu
  'bench speedrun': null, // hours
  'paper kernel': null, // test/bench/paper/world.test.ts
  'paper power': null, // test/bench/paper/power.test.ts
  'paper lambda': null, // hours
  'paper auto-lambda': null, // hours
  'paper related': null, // an hour
  'paper ranks': null, // test/bench/paper/ranks.test.ts
  'paper views': [...data, '--out', join(work, 'cluster-paper')],
  'paper dynamics': ['--out', join(work, 'paper'), '--cache', join(work, 'paper', 'runs')],
  // No cluster is here: its script is printed. So is the script for a grid of this repository, which takes days. Their runs
  // are not those of the commands before.
  sweep: (args) => {
    const launcher = inRepository(args[0]) && !args.includes('slurm') ? ['--launcher', 'slurm'] : []
    const prints = launcher.length > 0 || args.includes('slurm')
    const dry = prints && !args.includes('--dry-run') ? ['--dry-run'] : []
    return [...launcher, ...dry, '--out', join(work, prints ? 'cluster' : 'sweep')]
  },
  test: null, // the tests themselves
  'test:portable': null,
  lint: null,
  types: null,
  rooms: null, // test/package/rooms.test.ts
  licences: null, // test/package/supply.test.ts
  reference: null, // test/engine/standalone/reference.test.ts
  mutate: null, // an hour
  torture: null, // test/torture, shorter
}

/** The arguments of a command that takes too long as it stands: of all experiments the one that takes seconds is run. */
const shortened = { 'paper all': ['dynamics', '--scale', 'tiny'] }

/** The commands in the shell blocks of a file, and those with arguments in its text. */
function commandsOf(file) {
  const content = readFileSync(file, 'utf8')
  const blocks = [...content.matchAll(/^```sh\n([^]*?)^```/gm)]
  const lines = blocks.flatMap(([, block]) => block.replace(/\\\n\s*/g, ' ').split('\n'))
  const inText = content.replace(/^```[^]*?^```/gm, '').matchAll(/`(npm (?:run [a-z:]+|start|test) -- [^`]+)`/g)
  return [...lines, ...[...inText].map(([, command]) => command.replace(/\s+/g, ' '))]
    .map((line) => line.replace(/\s+#.*$/, '').trim())
    .filter((line) => /^npm (run |start|test)/.test(line))
}

/** Pictures of the sample as PNG files. */
async function writePictures(folder) {
  const side = 32
  const records = readFileSync(join(sample, 'data_batch_1.bin'))
  mkdirSync(folder, { recursive: true })
  for (let i = 0; i < 16; i++) {
    const planes = records.subarray(i * 3073 + 1, (i + 1) * 3073)
    const pixels = Uint8Array.from(planes, (_, k) => planes[(k % 3) * side * side + Math.floor(k / 3)])
    await sharp(pixels, { raw: { width: side, height: side, channels: 3 } }).toFile(join(folder, `${i}.png`))
  }
}

/** The README's project that installs the package: its commands as they stand, and its first script. */
function tryProject() {
  const readme = readFileSync('README.md', 'utf8')
  const [, section] = /### Train from a Node script\n([^]*?)\n### /.exec(readme)
  const [, setUp] = /```sh\n([^]*?)```/.exec(section)
  const [, script] = /```ts\n([^]*?)```/.exec(section)
  const project = join(work, 'project')
  mkdirSync(project, { recursive: true })
  const sh = (command, cwd) => execFileSync('bash', ['-ec', command], { cwd, stdio: ['ignore', 'ignore', 'inherit'] })
  console.log('README: the project that installs the package')
  sh(`npm run --silent build && npm pack --silent --ignore-scripts --pack-destination '${project}'`, '.')
  sh(setUp.replace('path/to/', './'), project)
  writeFileSync(join(project, 'script.ts'), script)
  sh('npx --yes tsx script.ts', project)
}

/** The sweep that bench/README.md shows, at the smallest sizes and with two of its points. */
function writeGrid(file) {
  const [, block] = /```yaml\n([^]*?)```/.exec(readFileSync('bench/README.md', 'utf8'))
  const { base, grid, readout } = parse(block)
  const sizes = { dataDir: sample, width: 4, batch: 8, projectorDim: 8, epochs: 1, steps: 2, augmentation: { size: 8 } }
  const points = Object.entries(grid).map(([name, values], i) => [name, values.slice(0, i === 0 ? 2 : 1)])
  const sweep = {
    base: { ...base, ...sizes },
    grid: Object.fromEntries(points),
    seeds: [1],
    readout: { ...readout, epochs: 2, trainPerClass: 5, testPerClass: 5 },
  }
  writeFileSync(file, stringify(sweep))
}

function run(command, args, stopAfter) {
  return new Promise((resolve) => {
    const child = spawn('npm', ['run', '--silent', command, '--', ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
      detached: true,
    })
    let stopped = false
    const stop = () => {
      stopped = true
      process.kill(-child.pid, 'SIGTERM')
    }
    const timer = stopAfter && setTimeout(stop, stopAfter)
    child.on('close', (code) => {
      clearTimeout(timer)
      // A server that ends by itself has failed.
      if (stopAfter) resolve(stopped ? 0 : 1)
      else resolve(code)
    })
  })
}

const files = execFileSync('git', ['ls-files', '*.md'], { encoding: 'utf8' }).trim().split('\n')
const commands = [...new Set(files.flatMap(commandsOf))]
const used = new Set()
mkdirSync(work, { recursive: true })
if (!text) tryProject()
if (commands.some((line) => line.includes(text))) await writePictures(join(work, 'pictures'))
writeGrid(join(work, 'my-grid.yaml'))
for (const line of commands) {
  const [, name, rest] = /^npm (?:run )?([\w:-]+)(?: --)?(.*)$/.exec(line)
  const given = rest.trim().split(/\s+/).filter(Boolean)
  const args = shortened[`${name} ${given[0]}`] ?? given
  const key = [`${name} ${args[0]}`, name].find((one) => Object.hasOwn(reduced, one))
  if (key === undefined) throw new Error(`${line}: .ci/readme_commands.mjs does not know how to reduce it`)
  used.add(key)
  if (!line.includes(text) || reduced[key] === null) continue
  const placed = args.map((arg) =>
    /^(runs|pictures)(\/|$)|\.(json|yaml)$/.test(arg) && !inRepository(arg) ? join(work, arg) : arg,
  )
  const more = typeof reduced[key] === 'function' ? reduced[key](args) : reduced[key]
  console.log(`README: ${line}`)
  const serves = ['watch', 'web'].includes(name) && !args.includes('--build')
  const code = await run(name, [...placed, ...more], serves ? 5000 : 0)
  if (code !== 0) throw new Error(`${line}: exit code ${code}`)
}
const unused = Object.keys(reduced).filter((key) => !used.has(key))
if (unused.length) throw new Error(`.ci/readme_commands.mjs: no README names ${unused.join(', ')}`)
console.log(`all ${commands.length} commands of the READMEs are known, and those that are not run elsewhere ran`)
