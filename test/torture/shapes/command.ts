/** `npm run torture -- shapes` */
import type { Command } from 'commander'
import { wholeNumber } from '../../../train/cli/common.js'
import type { Attacked, Described } from './attack.js'
import {
  attackConfiguration,
  configurations,
  defaultConfigurations,
  leftOut,
  MACHINE,
  neverRan,
  repeatCommand,
  WIDE,
  type Configured,
} from './configurations.js'

const NAMES = [...Object.keys(configurations), MACHINE].join(', ')

interface Options {
  cases: number
  seed: number
  only?: string
  configuration?: string
  case?: string
  each: boolean
}

const row = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`
const total = (list: readonly Attacked[], of: (attacked: Attacked) => number): number =>
  list.reduce((sum, attacked) => sum + of(attacked), 0)
const distinct = (list: readonly Attacked[], of: (attacked: Attacked) => string[]): number =>
  new Set(list.flatMap(of)).size
const share = (worst: number): string => worst.toPrecision(2)

function rowOf({ configuration, lanes, families, seconds, crash }: Configured): string {
  return row([
    configuration,
    lanes,
    distinct(families, (f) => f.ops),
    distinct(families, (f) => f.variants),
    distinct(families, (f) => f.kernels),
    total(families, (f) => f.cases),
    total(families, (f) => f.numbers).toLocaleString('en'),
    // JSON has no infinity.
    share(Math.max(0, ...families.map(({ worst }) => worst ?? Infinity))),
    families.filter((f) => f.failure).length + Number(crash !== undefined),
    seconds.toFixed(0),
  ])
}

/** One row for each family, with the worst of all configurations. */
function showEach(results: readonly Configured[]): void {
  console.log('')
  console.log(row(['cases of', 'cases', 'refused', 'skipped', 'worst error / bound', 'in', 's']))
  console.log(row(['---', '--:', '--:', '--:', '--:', '---', '--:']))
  const all = results.flatMap((result) => result.families)
  for (const name of new Set(all.map(({ family }) => family))) {
    const mine = all.filter(({ family }) => family === name)
    const worst = mine.reduce((a, b) => ((a.worst ?? Infinity) >= (b.worst ?? Infinity) ? a : b))
    console.log(
      row([
        name,
        ...(['cases', 'refused', 'skipped'] as const).map((key) => total(mine, (f) => f[key])),
        share(worst.worst ?? Infinity),
        worst.worstIn,
        total(mine, (f) => f.seconds).toFixed(1),
      ]),
    )
  }
  console.log('')
}

function parseCase(text: string): Described {
  try {
    return JSON.parse(text) as Described
  } catch {
    throw new Error(`--case '${text}': is not the JSON of a case: copy it from the line of a failure`)
  }
}

async function run(options: Options): Promise<number> {
  const repeat = options.case === undefined ? undefined : parseCase(options.case)
  const names = options.configuration === undefined ? defaultConfigurations() : [options.configuration]
  for (const name of names)
    if (!(name in configurations) && name !== MACHINE)
      throw new Error(`--configuration ${name}: must be one of ${NAMES}`)
  const cases = Math.ceil(options.cases / names.length)
  const results: Configured[] = []
  const heads = ['configuration', 'lanes', 'ops', 'variants', 'kernels', 'cases', 'numbers', 'worst error / bound']
  console.log(row([...heads, 'failures', 's']))
  console.log(row(['---', ...heads.slice(1).map(() => '--:'), '--:', '--:']))
  for (const name of names) {
    const result = await attackConfiguration(
      name,
      { ...options, cases, repeat },
      (configuration, { failure, family }) => {
        if (!failure) return
        console.error(`FAILED ${family} on ${configuration}: ${failure.message}`)
        if (failure.repeat) console.error(`  repeat it with: ${repeatCommand(configuration, failure.repeat)}`)
      },
    )
    if (result.crash !== undefined) console.error(`FAILED ${name}: ${result.crash}`)
    console.log(rowOf(result))
    results.push(result)
  }
  if (options.each) showEach(results)
  const families = results.flatMap((result) => result.families)
  for (const name of names.filter((configuration) => configuration in leftOut))
    console.log(`${name} leaves out what matches ${leftOut[name]}, because its driver takes minutes to compile it`)
  if (options.configuration === undefined && !names.includes(WIDE))
    console.log(`${WIDE} is left out: this processor has no vectors of 512 bits, and the driver compiles for minutes`)
  console.log(
    `${total(families, (f) => f.cases).toLocaleString('en')} cases in ${results.reduce((sum, { seconds }) => sum + seconds, 0).toFixed(0)} s, ` +
      `worst error ${share(Math.max(0, ...families.map(({ worst }) => worst ?? Infinity)))} of its bound`,
  )
  // A part of the families, or of the adapters, need not reach all.
  const missing = options.only === undefined && options.configuration === undefined && !repeat ? neverRan(results) : []
  if (missing.length) console.error(`never ran: ${missing.join(', ')}`)
  const failed = results.some(({ crash, families }) => crash !== undefined || families.some((f) => f.failure))
  return failed || missing.length ? 1 : 0
}

export function addShapes(program: Command): void {
  program
    .command('shapes')
    .description('every op and every variant of a product on generated shapes, against f64, on each software adapter')
    .option('--cases <count>', 'number of cases on all adapters together', wholeNumber('--cases', 1), 6000)
    .option('--seed <number>', 'seed of the cases', wholeNumber('--seed', 0), 1)
    .option('--only <pattern>', 'only ops and variants that match, such as "conv2d by winograd" or "^adam"')
    .option('--configuration <name>', `only one of ${NAMES}`)
    .option('--case <json>', 'repeat this case, as a failure prints it')
    .option('--each', 'also a table of all ops and variants', false)
    .action(async (options: Options) => process.exit(await run(options)))
}
