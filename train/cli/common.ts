/** Helpers that all training commands share. */
import type { Command } from 'commander'
import { say } from '../../engine/node/command.js'
import { openEngine, type NodeEngine } from '../../engine/node/index.js'

export {
  asCommandLine,
  optionOf,
  parseOptions,
  printable,
  runCommand,
  withAdapter,
  say,
  sayOn,
} from '../../engine/node/command.js'

/** Opens the engine and prints one line with the adapter that it uses. */
export async function openWithNote(adapter?: string): Promise<NodeEngine> {
  const engine = await openEngine({ adapter })
  say(engine.driver.note)
  return engine
}

/** Adds the option of every command that writes a file which the user names. Without it no file is replaced. */
export const withForce = (command: Command, option = '--out'): Command =>
  command.option('--force', `replace the file of ${option} if it exists`)

/** A parser of numbers for commander. Its error names the option and the text. */
export const number =
  (option: string) =>
  (text: string): number => {
    const value = text.trim() === '' ? NaN : Number(text)
    if (Number.isNaN(value)) throw new Error(`${option}: '${text}' is not a number`)
    return value
  }

/** A parser of whole numbers for commander. */
export function wholeNumber(option: string, least: number): (text: string) => number {
  const parse = number(option)
  return (text) => {
    const value = parse(text)
    if (!Number.isSafeInteger(value) || value < least)
      throw new Error(`${option} ${text}: must be a whole number of at least ${least}`)
    return value
  }
}
