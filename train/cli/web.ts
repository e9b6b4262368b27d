/** `npm run web`: the page that trains in the browser, served on this machine or written for any host. */
import { Command } from 'commander'
import { parseOptions, runCommand } from '../../engine/node/command.js'
import { checkFolder } from '../node/files.js'
import { buildPage } from '../node/web/files.js'
import { startWebServer } from '../node/web/server.js'
import { formatCount } from '../report/text.js'
import { port, untilInterrupted } from './serving.js'

const command = new Command('web')
  .description(
    'Serve a page on this machine that trains in the browser: on pictures that you drop, or on CIFAR-10. It shows the ' +
      'views, the loss, what the network learns and its nearest neighbours.',
  )
  .option('--port <number>', 'port to listen on (6106 or the next free one)', port)
  .option('--data-dir <folder>', "folder that holds CIFAR-10's official files (the cache)")
  .option('--build <folder>', 'write the page for any host of static files instead, with 2,000 images of CIFAR-10')

await runCommand(async () => {
  const { build, port, dataDir } = parseOptions<{ port?: number; dataDir?: string; build?: string }>(command)
  if (build !== undefined) {
    if (port !== undefined) throw new Error('--port: has no meaning with --build, which serves nothing')
    await checkFolder('--build', build)
    const images = await buildPage(build, dataDir)
    console.log(`${build}: the page, with ${formatCount(images)} images of CIFAR-10`)
    console.log(
      'Publish it on any host with https, for example GitHub Pages. Browsers do not train on pages of file://.',
    )
    return
  }
  const server = await startWebServer({ port, dataDir })
  console.log(`The page is on ${server.url} (Ctrl-C ends it)`)
  await untilInterrupted()
  await server.close()
})
