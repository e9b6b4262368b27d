/** `npm run torture -- endurance` */
import type { Command } from 'commander'
import { mkdir, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { wholeNumber } from '../../../train/cli/common.js'
import { lines, svgFile } from '../../../bench/report/charts.js'
import { median } from '../../../bench/report/statistics.js'
import { endure, settled, sizes, type Endured } from './endurance.js'

interface Options {
  steps: number
  seed: number
  out: string
}

const LABELS: Record<(typeof sizes)[number], string> = {
  resident: 'resident memory',
  heap: 'JavaScript heap',
  deviceBytes: 'device buffers',
}
const MIB = 2 ** 20
const KIB = 1024
const row = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`

function show(endured: Endured): void {
  const late = settled(endured)
  console.log(row(['', 'median (MiB)', 'slope (KiB / 1,000 steps)', '95 % interval']))
  console.log(row(['---', '--:', '--:', '---']))
  for (const key of sizes) {
    const { perThousand, low, high } = endured.slopes[key]
    const kib = (bytes: number): string => (bytes / KIB).toFixed(1)
    const middle = (median(late.map((reading) => reading[key])) / MIB).toFixed(2)
    console.log(row([LABELS[key], middle, kib(perThousand), `${kib(low)} to ${kib(high)}`]))
  }
  const at = (key: 'deviceBuffers' | 'pipelines' | 'openFiles'): string => `${late[0][key]} to ${late.at(-1)![key]}`
  console.log(
    `device buffers ${at('deviceBuffers')}, pipelines ${at('pipelines')}, open files ${at('openFiles')}, ` +
      `left at the exit: ${[...endured.resources, ...endured.remains].join(', ') || 'nothing'}`,
  )
  console.log(
    `${endured.steps.toLocaleString('en')} steps in ${endured.seconds.toFixed(0)} s; ` +
      `exit ${endured.exitSeconds.toFixed(2)} s after the last line`,
  )
}

/** How the memory differs from its median, over the steps. */
async function plot(endured: Endured): Promise<string> {
  const late = settled(endured)
  const series = sizes.map((key) => {
    const middle = median(late.map((reading) => reading[key]))
    return {
      name: `${LABELS[key]} (${(middle / MIB).toFixed(1)} MiB)`,
      points: late.map((reading) => ({ x: reading.step, y: (reading[key] - middle) / MIB })),
    }
  })
  const spec = lines(series, { x: { title: 'step' }, y: { title: 'difference from the median (MiB)' }, markers: false })
  const about = [`${new Date().toISOString().slice(0, 10)}, Node ${process.versions.node}, ${cpus()[0]?.model.trim()}`]
  return svgFile(spec, `Memory over ${endured.steps.toLocaleString('en')} steps`, about)
}

async function run({ steps, seed, out }: Options): Promise<number> {
  const endured = await endure(steps, seed)
  show(endured)
  await mkdir(out, { recursive: true })
  const { readings, ...rest } = endured
  const text = readings.map((reading) => `    ${JSON.stringify(reading)}`).join(',\n')
  const head = JSON.stringify(rest, null, 2).slice(0, -2)
  await writeFile(join(out, 'endurance.json'), `${head},\n  "readings": [\n${text}\n  ]\n}\n`)
  await writeFile(join(out, 'endurance.svg'), await plot(endured))
  console.log(`readings and plot: ${join(out, 'endurance.json')}, ${join(out, 'endurance.svg')}`)
  for (const failure of endured.failures) console.error(`FAILED: ${failure}`)
  return endured.failures.length ? 1 : 0
}

export function addEndurance(program: Command): void {
  program
    .command('endurance')
    .description('a long pretraining run: memory of process and device, what is left, and the time to exit')
    .option('--steps <count>', 'number of steps', wholeNumber('--steps', 500), 5000)
    .option('--seed <number>', 'seed of the pictures', wholeNumber('--seed', 0), 1)
    .option('--out <folder>', 'where readings and plot are written', 'runs/torture')
    .action(async (options: Options) => process.exit(await run(options)))
}
