/** What every command of training shares. */
import { openEngine, type NodeEngine } from '../../engine/node/index.js'

export { asCommandLine, optionOf, parseOptions, runCommand, withAdapter } from '../../engine/node/command.js'

/** Opens the engine and says in one line which adapter is used. */
export async function openWithNote(adapter?: string): Promise<NodeEngine> {
  const engine = await openEngine({ adapter })
  console.error(engine.driver.note)
  return engine
}

/** Parses a number for commander; says what was given where it is none. */
export const number =
  (option: string) =>
  (text: string): number => {
    const value = text.trim() === '' ? NaN : Number(text)
    if (Number.isNaN(value)) throw new Error(`${option}: '${text}' is not a number`)
    return value
  }
