/** `npm run watch -- runs/a runs/b`: a page that follows runs as they go and compares them. */
import { Command } from 'commander'
import { parseOptions, runCommand, sayOn } from '../../engine/node/command.js'
import { checkFolders, startWatchServer } from '../node/watch/server.js'
import { port, untilInterrupted } from './serving.js'

const command = new Command('watch')
  .description(
    'Serve a page on this machine that follows runs while they train and compares them: loss, readouts, spectrum, speed, views and configuration.',
  )
  .argument('[folders...]', 'runs, or folders that hold runs (runs)')
  .option('--port <number>', 'port to listen on (6006 or the next free one)', port)

await runCommand(async () => {
  const options = parseOptions<{ port?: number }>(command)
  const folders = command.args.length > 0 ? command.args : ['runs']
  checkFolders(folders)
  const server = await startWatchServer(folders, options)
  sayOn(process.stdout, `Watching ${folders.join(', ')} on ${server.url} (Ctrl-C ends it)`)
  await untilInterrupted()
  await server.close()
})
