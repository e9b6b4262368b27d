/** One adapter's share of the attack, in a process of its own: a line of JSON for each family. */
import { runCommand } from '../../../engine/node/command.js'
import { openEngine } from '../../../engine/node/index.js'
import { attackShapes, repeatCase, type Described } from './attack.js'
import { families } from './families/index.js'

/** What the parent process asks for. */
export interface Asked {
  cases: number
  seed: number
  /** Regular expressions of names of families. */
  only?: string
  except?: string
  repeat?: Described
}

const asked = JSON.parse(process.argv[2]) as Asked
await runCommand(async () => {
  const engine = await openEngine()
  const write = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
  write({ lanes: engine.target.subgroupSize[1] })
  if (asked.repeat) write(await repeatCase(engine, asked.repeat))
  else {
    const [only, except] = [new RegExp(asked.only ?? ''), new RegExp(asked.except ?? '^$')]
    const chosen = families.filter(({ name }) => only.test(name) && !except.test(name))
    await attackShapes(engine, { ...asked, chosen }, write)
  }
  engine.close()
})
