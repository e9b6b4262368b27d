/** `npm run bench -- kernels | step | peers | trace`: see `--help`. */
import { Argument, Command } from 'commander'
import { ConfigError } from '../train/config.js'
import { number, openWithNote, parseOptions, runCommand, withAdapter } from '../train/cli/common.js'
import { benchPeers } from './peers.js'
import { originOf, render, writeReport } from './report.js'

interface Options {
  json?: string
  plots?: string
  out?: string
  only?: string
  rounds?: number
  quick?: boolean
  adapter?: string
}

const command = withAdapter(
  new Command('bench')
    .description('Measure the engine on this machine; prints a Markdown table.')
    .addArgument(
      new Argument('<what>', 'kernels, step, peers (side by side) or trace (a file of one step)').choices(['peers']),
    )
    .option('--json <file>', 'write everything measured there, and SVG plots beside it')
    .option('--plots <folder>', 'write the plots there')
    .option('--out <file>', 'trace: the Chrome-trace file to write (trace.json)')
    .option('--only <text>', 'only cases whose names contain this')
    .option('--rounds <count>', 'rounds that medians are taken over (9, quick: 3)', number('--rounds'))
    .option('--quick', 'fewer cases and rounds: under 3 minutes on a CPU driver'),
)

await runCommand(async () => {
  const { json, plots, only, quick = false, adapter, ...options } = parseOptions<Options>(command)
  const rounds = options.rounds ?? (quick ? 3 : 9)
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new ConfigError(`--rounds ${rounds}: must be a whole number of at least 1`)
  const engine = await openWithNote(adapter)
  const origin = originOf(engine, rounds)
  const { adapterClass } = engine.target
  // The peers' processes have devices of their own, and the machine to themselves.
  engine.close()
  const report = await benchPeers({
    origin,
    adapterClass,
    rounds,
    quick,
    only,
    onMessage: (line) => console.error(line),
  })
  console.log(render(report))
  for (const path of await writeReport(report, { json, plots })) console.error(`wrote ${path}`)
})
