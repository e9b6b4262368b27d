/** `webgpu-ssl report runs/a`: writes a run's report.html again, from the files in its folder. */
import { Command } from 'commander'
import { parseOptions, runCommand } from '../../engine/node/command.js'
import { writeRunReport } from '../node/run_report.js'

const command = new Command('report')
  .description(
    "Write a run's report.html from the files in its folder, also while it runs. `pretrain` does so at its end.",
  )
  .argument('<run>', 'folder that pretrain wrote with --out')

await runCommand(async () => {
  parseOptions(command)
  console.log(await writeRunReport(command.args[0]))
})
