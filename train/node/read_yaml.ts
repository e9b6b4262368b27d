/** YAML files on disk. */
import { open } from 'node:fs/promises'
import { ConfigError } from '../config/config.js'
import { LARGEST_YAML, parseYaml } from '../config/parse_yaml.js'
import { unreadable } from './files.js'

/**
 * Reads a YAML file, at most as much of it as a file of options can have.
 *
 * @param name of the file in messages
 * @throws ConfigError in one line if the file cannot be read or parsed
 */
export async function readYaml(path: string, name = path): Promise<unknown> {
  const bytes = Buffer.alloc(4 * LARGEST_YAML + 1)
  let length = 0
  try {
    const file = await open(path)
    try {
      for (let read = -1; read !== 0 && length < bytes.length; length += read)
        read = (await file.read(bytes, length, bytes.length - length)).bytesRead
    } finally {
      await file.close()
    }
  } catch (error) {
    throw new ConfigError(unreadable(name, error))
  }
  return parseYaml(bytes.toString('utf8', 0, length), name)
}
