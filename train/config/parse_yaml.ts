/** Parses YAML from outside: bounded in size, depth and time, and without keys that reach the prototypes of objects. */
import { LineCounter, parseDocument } from 'yaml'
import { ConfigError } from './config_error.js'

/** The parser's time grows with the square of the text, so longer texts are refused. Configurations have about 2 KiB. */
export const LARGEST_YAML = 2 ** 15
const DEEPEST = 32

/**
 * Parses one YAML document.
 *
 * @param name of the file, for the message
 * @returns mappings as plain objects with own keys only, lists as arrays; null for an empty document
 * @throws ConfigError in one line that names the file
 */
export function parseYaml(text: string, name: string): unknown {
  const refuse = (reason: string): never => {
    throw new ConfigError(`${name}: not valid YAML: ${reason}`)
  }
  if (text.length > LARGEST_YAML)
    throw new ConfigError(`${name}: over ${LARGEST_YAML / 1024} KiB, which is too long for a file of options`)
  const lines = new LineCounter()
  let value: unknown
  try {
    // Formatting the context of each error would take most of the time, and only the first error is shown.
    const document = parseDocument(text, { prettyErrors: false, logLevel: 'silent', lineCounter: lines })
    const [error] = document.errors
    if (error && !isOverflow(error)) {
      const { line, col } = lines.linePos(error.pos[0])
      refuse(`${error.message.split('\n')[0]} at line ${line}, column ${col}`)
    }
    if (error) refuse(TOO_DEEP)
    value = document.toJS({ maxAliasCount: 100 })
    checkPlain(value, refuse, DEEPEST)
  } catch (error) {
    if (error instanceof ConfigError) throw error
    refuse(isOverflow(error) ? TOO_DEEP : (error as Error).message.split('\n')[0])
  }
  return value
}

const TOO_DEEP = `nested deeper than ${DEEPEST} levels`

const isOverflow = (error: unknown): boolean => (error as Error).message.includes('call stack')

/** Old versions of YAML have dates, sets and bytes, and an alias may stand for a mapping that contains it. */
function checkPlain(value: unknown, refuse: (reason: string) => never, deepest: number): void {
  if (typeof value !== 'object' || value === null) return
  if (deepest === 0) refuse(TOO_DEEP)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== Array.prototype)
    refuse('options are numbers, text, true, false, lists and mappings only')
  for (const [key, inside] of Object.entries(value)) {
    if (key === '__proto__') refuse("'__proto__' is not the name of an option")
    checkPlain(inside, refuse, deepest - 1)
  }
}
