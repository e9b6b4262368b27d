/** What every command of the command line shares. */
import { CommanderError, type Command } from 'commander'
import { openEngine, type NodeEngine } from '../../engine/node/index.js'

/** Adds the options that every command on the GPU takes. */
export const withAdapter = (command: Command): Command =>
  command.option('--adapter <name>', "'hardware', 'system', 'lavapipe', 'swiftshader' or part of an adapter's name")

/** Opens the engine and says in one line which adapter is used. */
export async function openWithNote(adapter?: string): Promise<NodeEngine> {
  const engine = await openEngine({ adapter })
  console.error(engine.driver.note)
  return engine
}

/** Parses the command line; help and a wrong option end the command through `runCommand`, in one line. */
export function parseOptions<T>(command: Command): T {
  command
    .configureOutput({ writeErr: () => undefined })
    .exitOverride()
    .parse()
  return command.opts() as T
}

/** Runs a command: what goes wrong is one line on stderr and exit code 1. `WEBGPU_SSL_DEBUG` adds the stack. */
export async function runCommand(main: () => Promise<void>): Promise<void> {
  try {
    await main()
    process.exitCode ??= 0
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) process.exit(0)
    const { message, stack } = error as Error
    const line = String(message ?? error)
      .split('\n')[0]
      .replace(/^error: /, '')
    console.error(process.env.WEBGPU_SSL_DEBUG ? stack : `error: ${line}`)
    process.exitCode = 1
  }
  // Dawn keeps threads of its own; without this the process would linger.
  process.exit()
}

/** Parses a number for commander; says what was given where it is none. */
export const number =
  (option: string) =>
  (text: string): number => {
    const value = text.trim() === '' ? NaN : Number(text)
    if (Number.isNaN(value)) throw new Error(`${option}: '${text}' is not a number`)
    return value
  }
