/** `npm run torture`: long attacks, with a bounded number of cases; see `--help`. */
import { Command } from 'commander'
import { addEndurance } from './endurance/command.js'
import { attackInputs, type Attacked } from './inputs.js'
import { attackByKills } from './kills.js'
import { addShapes } from './shapes/command.js'

/** Most memory that a parser may take for inputs of some kilobytes. */
const MOST_GROWN_MIB = 1024

const row = (cells: (string | number)[]): string => `| ${cells.join(' | ')} |`

function show({ parser, cases, accepted, refused, slowestMs, grownMiB, failure }: Attacked): void {
  console.log(row([parser, cases, accepted, refused, slowestMs.toFixed(0), grownMiB.toFixed(0)]))
  if (failure) console.error(`FAILED ${parser}: ${failure}`)
}

const program = new Command('torture').description('Attack the project, and report figures as a Markdown table.')
program
  .command('inputs')
  .description('damaged files for every parser of bytes from outside')
  .option('--cases <count>', 'number of cases of all parsers together', Number, 100_000)
  .option('--seed <number>', 'seed of the cases', Number, 1)
  .action(async (options: { cases: number; seed: number }) => {
    const begun = performance.now()
    console.log(row(['parser', 'cases', 'accepted', 'refused', 'slowest (ms)', 'memory (MiB)']))
    console.log(row(['---', '--:', '--:', '--:', '--:', '--:']))
    const results = await attackInputs(options, show)
    const failed = results.filter(({ failure, grownMiB }) => failure !== undefined || grownMiB > MOST_GROWN_MIB)
    const cases = results.reduce((sum, result) => sum + result.cases, 0)
    console.log(
      `${cases.toLocaleString('en')} cases in ${((performance.now() - begun) / 1000).toFixed(0)} s, ${failed.length} of ${results.length} parsers failed`,
    )
    process.exit(failed.length > 0 ? 1 : 0)
  })
program
  .command('kills')
  .description('runs that are killed at random moments and resumed')
  .option('--kills <count>', 'number of SIGKILLs', Number, 50)
  .option('--seed <number>', 'seed of the moments', Number, 1)
  .action(async (options: { kills: number; seed: number }) => {
    const begun = performance.now()
    console.log(row(['run', 'kills', 'same bits', 'remains']))
    console.log(row(['---', '--:', '---', '---']))
    let number = 0
    const runs = await attackByKills(options, ({ kills, sameBits, remains, failure }) => {
      console.log(row([++number, kills, sameBits ? 'yes' : 'NO', remains.join(', ') || 'none']))
      if (failure) console.error(`FAILED run ${number}: ${failure}`)
    })
    const failed = runs.filter(({ sameBits, remains }) => !sameBits || remains.length > 0)
    const kills = runs.reduce((sum, run) => sum + run.kills, 0)
    console.log(
      `${kills} kills in ${((performance.now() - begun) / 1000).toFixed(0)} s, ${failed.length} of ${runs.length} runs failed`,
    )
    process.exit(failed.length > 0 ? 1 : 0)
  })
addShapes(program)
addEndurance(program)
await program.parseAsync()
