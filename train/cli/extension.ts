/** Files whose format follows from their extension. */
import { extname } from 'node:path'
import { ConfigError } from '../config/config.js'

/**
 * The extension of the file that an option names, in lower case.
 *
 * @param known the extensions that the command writes, such as `.png`
 * @throws ConfigError that lists them
 */
export function extensionOf(option: string, file: string, known: readonly string[]): string {
  const found = extname(file).toLowerCase()
  if (known.includes(found)) return found
  throw new ConfigError(`${option} ${file}: the name must end in ${known.join(', ').replace(/, ([^,]*)$/, ' or $1')}`)
}
