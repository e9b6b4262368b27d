// node .ci/readme_commands.mjs CIFAR_SAMPLE WORK: runs every command of the READMEs, with sizes reduced where it is long.
// A command without an entry in `reduced` is an error: whoever documents a command says here how to try it.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const [sample, work] = process.argv.slice(2)
const data = ['--data-dir', sample]
const small = [...data, '--width', '4', '--image-size', '8', '--batch', '8', '--projector-dim', '8', '--no-tune']

/** What to add to a command, by its name; null: it is run elsewhere in CI, or it needs what CI lacks. */
const reduced = {
  start: [...data, '--steps', '2', '--out', join(work, 'quickstart')],
  test: null, // the tests themselves
  doctor: [],
  pretrain: [...small, '--steps', '2'],
  probe: [...data, '--per-class', '5', '--no-untrained'],
  embed: data,
  views: data,
  watch: ['--port', '0'],
  web: data,
  data: data,
  bench: ['--quick', '--only', 'matmul 256'],
  paper: null, // `dynamics` is run by .ci/run; the other experiments take an hour
  sweep: null, // test/bench/sweep runs it as a command
  reference: null, // test/engine/standalone/reference.test.ts
  rooms: null, // test/package/rooms.test.ts
  build: null, // test/package/pack.test.ts
  lint: null,
  types: null,
  format: null,
  'test:portable': null,
}
/** Commands whose folder of pictures is made from the sample would test nothing new: test/train/node/data has them. */
const needsPictures = (line) => line.includes('--data folder')

/** The commands in the shell blocks of a README. */
function commandsOf(file) {
  const text = readFileSync(file, 'utf8')
  const lines = [...text.matchAll(/```sh\n([^]*?)```/g)].flatMap(([, block]) =>
    block.replace(/\\\n\s*/g, ' ').split('\n'),
  )
  return lines.map((line) => line.replace(/\s+#.*$/, '').trim()).filter((line) => /^npm (run |start|test)/.test(line))
}

function run(command, args, stopAfter) {
  return new Promise((resolve) => {
    const child = spawn('npm', ['run', '--silent', command, '--', ...args], {
      stdio: ['ignore', 'ignore', 'inherit'],
      detached: true,
    })
    if (stopAfter) setTimeout(() => process.kill(-child.pid, 'SIGTERM'), stopAfter)
    child.on('close', (code) => resolve(stopAfter ? 0 : code))
  })
}

const files = ['README.md', 'train/cli/README.md']
const commands = [...new Set(files.flatMap(commandsOf))]
for (const line of commands) {
  const [, name, rest] = /^npm (?:run )?([\w:-]+)(?: --)?(.*)$/.exec(line)
  if (!Object.hasOwn(reduced, name)) throw new Error(`${line}: .ci/readme_commands.mjs does not know how to reduce it`)
  if (reduced[name] === null || needsPictures(line)) continue
  const args = rest.trim().split(/\s+/).filter(Boolean)
  const placed = args.map((arg) => (/^runs(\/|$)/.test(arg) ? join(work, arg) : arg))
  console.log(`README: ${line}`)
  const code = await run(name, [...placed, ...reduced[name]], ['watch', 'web'].includes(name) ? 5000 : 0)
  if (code !== 0) throw new Error(`${line}: exit code ${code}`)
}
console.log(`all ${commands.length} commands of the READMEs are known, and those that are not run elsewhere ran`)
