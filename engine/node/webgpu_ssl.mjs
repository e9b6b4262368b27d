#!/usr/bin/env node
// The command `webgpu-ssl`, in a clone (npx webgpu-ssl, npm run …) and in an installed package.
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = new URL('../../', import.meta.url)
const isClone = existsSync(new URL('package-lock.json', root))
const { launch, runToExit } = await import(new URL(`${isClone ? '' : 'dist/'}engine/node/launch.mjs`, root).href)

/** The commands: their scripts, and what they do. `adapter` false: the command needs none, or reports it itself.
 * @type {Record<string, { script: string, says: string, adapter?: false }>} */
const commands = {
  quickstart: {
    script: 'train/cli/quickstart',
    says: 'pretrain with 2 and with 4 views, and write a report (npm start)',
  },
  pretrain: { script: 'train/cli/pretrain', says: 'pretrain a ResNet on images without labels' },
  probe: { script: 'train/cli/probe', says: 'read a run with a linear probe and nearest neighbours' },
  embed: { script: 'train/cli/embed', says: 'write the features of a data set' },
  export: { script: 'train/cli/export', says: 'write a network for other programs, as ONNX', adapter: false },
  views: { script: 'train/cli/views', says: 'draw images and the views that training makes of them' },
  data: { script: 'train/cli/data', says: 'prepare and check a data set', adapter: false },
  watch: { script: 'train/cli/watch', says: 'serve a page that follows and compares runs', adapter: false },
  web: { script: 'train/cli/web', says: 'serve a page that trains in the browser', adapter: false },
  report: { script: 'train/cli/report', says: "write a run's report.html again", adapter: false },
  bench: { script: 'bench/speed/cli', says: 'measure the engine on this machine' },
  paper: { script: 'bench/paper/cli', says: 'run the experiments of the paper' },
  sweep: { script: 'bench/sweep/cli', says: 'pretrain and read out a grid of options' },
  task: { script: 'bench/launch/cli', says: 'make one run of a sweep or an experiment; --launcher starts these' },
  doctor: { script: 'engine/node/doctor', says: 'show the WebGPU adapters of this machine', adapter: false },
}
const names = Object.keys(commands)

const help = () => `Usage: webgpu-ssl <command> [options]

Commands:
${names.map((name) => `  ${name.padEnd(12)}${commands[name].says}`).join('\n')}

webgpu-ssl <command> --help lists the options of a command.
webgpu-ssl --version prints the version.

Exit codes:
    0  done, or stopped by Ctrl-C or a time limit and saved
    1  error
  130  ended at once by a second Ctrl-C; an experiment or a sweep stopped by
       Ctrl-C
  143  stopped by SIGTERM, after saving
`

/** The number of letters to insert, delete or replace to get from one word to another.
 * @param {string} a @param {string} b */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1))
    row = next
  }
  return row[b.length]
}

/** @param {string} wrong */
function unknown(wrong) {
  const [nearest] = names
    .map((name) => ({ name, far: name.startsWith(wrong) || wrong.startsWith(name) ? 1 : distance(wrong, name) }))
    .sort((a, b) => a.far - b.far)
  const near = nearest.far <= 2 ? `: did you mean ${nearest.name}?` : ''
  return new Error(`unknown command '${wrong}'${near} (webgpu-ssl --help lists all)`)
}

/** @param {string[]} args @returns {Promise<number>} exit code */
async function main([name, ...rest]) {
  if (name === undefined) {
    process.stderr.write(help())
    return 1
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(help())
    return 0
  }
  if (name === '--version' || name === '-V') {
    const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
    process.stdout.write(`${version}\n`)
    return 0
  }
  if (!Object.hasOwn(commands, name)) throw unknown(name)
  const { script, adapter } = commands[name]
  const file = new URL(isClone ? `${script}.ts` : `dist/${script}.js`, root)
  if (!existsSync(file)) throw new Error(`${name} is not part of the package: run it in a clone of the repository`)
  // The processes that it starts find adapters of their own, maybe on other machines.
  const starts = name !== 'paper' && rest.some((arg) => /^--(launcher|slurm|dry-run)(=|$)/.test(arg))
  return launch([fileURLToPath(file), ...rest], { adapter: adapter ?? !starts })
}

await runToExit(() => main(process.argv.slice(2)))
