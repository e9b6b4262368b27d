/** `npm run torture`: long attacks, with a bounded number of cases; see `--help`. */
import { Command } from 'commander'
import { runCommand } from '../../engine/node/command.js'
import { addAll } from './all.js'
import { attackEndings } from './endings.js'
import { addEndurance } from './endurance/command.js'
import { attackInputs, type Attacked } from './inputs.js'
import { attackByKills } from './kills.js'
import { attackServers } from './servers.js'
import { addShapes } from './shapes/command.js'

/** Most memory that a parser may take for inputs of some kilobytes. */
const MOST_GROWN_MIB = 1024

/** Most memory that clients may make the server take. */
const MOST_GROWN_BY_CLIENTS_MIB = 512

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
  .description('work that is killed at random moments and started again')
  .option('--kills <count>', 'number of SIGKILLs of all places together', Number, 100)
  .option('--seed <number>', 'seed of the moments', Number, 1)
  .option('--place <name>', 'only one place, such as pretraining or sweep')
  .action(async ({ place, ...options }: { kills: number; seed: number; place?: string }) => {
    const only = place === undefined ? undefined : [place]
    console.log(row(['place', 'kills', 'pieces of work', 'same bits', 'remains', 'seconds']))
    console.log(row(['---', '--:', '--:', '---', '---', '--:']))
    const places = await attackByKills({ ...options, only }, (found) => {
      const { place, kills, works, sameBits, remains, seconds, failure } = found
      console.log(row([place, kills, works, sameBits ? 'yes' : 'NO', remains.join(', ') || 'none', seconds.toFixed(0)]))
      if (failure) console.error(`FAILED ${place}: ${failure}`)
    })
    const failed = places.filter(({ sameBits, remains }) => !sameBits || remains.length > 0)
    const kills = places.reduce((sum, place) => sum + place.kills, 0)
    const seconds = places.reduce((sum, place) => sum + place.seconds, 0)
    console.log(`${kills} kills in ${seconds.toFixed(0)} s, ${failed.length} of ${places.length} places failed`)
    process.exit(failed.length > 0 ? 1 : 0)
  })
program
  .command('servers')
  .description('the server of `npm run watch`, while it follows a run that trains')
  .option('--seed <number>', 'seed of the random requests', Number, 1)
  .action(async (options: { seed: number }) => {
    console.log(row(['attack', 'tried', 'refused', 'answered', 'others waited at most (ms)', 'failures']))
    console.log(row(['---', '--:', '--:', '--:', '--:', '--:']))
    const found = await attackServers(options, ({ attack, tried, refused, answered, slowestMs, failures }) => {
      console.log(row([attack, tried, refused, answered, slowestMs.toFixed(0), failures.length]))
      for (const failure of failures.slice(0, 5)) console.error(`FAILED ${attack}: ${failure}`)
    })
    const { stepsPerSecond, memory, leftOpen, stepsCompared, sameBits, codes } = found
    console.log(
      `training: ${stepsPerSecond.before.toFixed(1)} steps/s before, ${stepsPerSecond.during.toFixed(1)} during the attacks; ` +
        `${stepsCompared} steps ${sameBits ? 'have the same bits as' : 'DIFFER from'} those of a run alone`,
    )
    console.log(
      `server: ${memory.before.toFixed(0)} MiB before, at most ${memory.during.toFixed(0)} MiB during the attacks; ` +
        `${leftOpen} connections or files left open`,
    )
    console.log(`exit codes after SIGTERM: run ${codes.run}, server ${codes.server}`)
    const broken = found.attacks.some(({ failures }) => failures.length > 0)
    process.exit(broken || !sameBits || memory.during - memory.before > MOST_GROWN_BY_CLIENTS_MIB ? 1 : 0)
  })
program
  .command('endings')
  .description('runs that are stopped by signals, or lose their terminal or the reader of their log')
  .option('--each <count>', 'number of runs for each way', Number, 3)
  .option('--only <text>', 'only ways whose name contains this text')
  .action(async (options: { each: number; only?: string }) => {
    console.log(row(['way', 'exit code', 'seconds to end', 'steps', 'saved', 'failures']))
    console.log(row(['---', '--:', '--:', '--:', '--:', '---']))
    const runs = await attackEndings(options, ({ way, code, seconds, steps, saved, failures }) =>
      console.log(
        row([
          way.replaceAll('|', '\\|'),
          code ?? 'none',
          seconds.toFixed(1),
          steps,
          saved,
          failures.join('; ') || 'none',
        ]),
      ),
    )
    const failed = runs.filter(({ failures }) => failures.length > 0).length
    const slowest = Math.max(0, ...runs.map(({ seconds }) => seconds))
    console.log(`${runs.length} runs ended, the slowest after ${slowest.toFixed(1)} s; ${failed} failed`)
    process.exit(failed > 0 ? 1 : 0)
  })
addAll(program)
addShapes(program)
addEndurance(program)
await runCommand(async () => {
  await program.parseAsync()
})
