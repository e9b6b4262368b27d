/** Where a run keeps its files: a folder on Node, the origin private file system in a browser. */

/** Paths are relative to the run and use '/'. A failure is an error of one line that names the file. */
export interface RunStore {
  /** The name of a file, or without a path of the run itself, for messages. */
  nameOf(path?: string): string
  /** The text of a file; undefined if there is no such file. */
  readText(path: string): Promise<string | undefined>
  /** The bytes of a file; undefined if there is no such file. */
  readBytes(path: string): Promise<Uint8Array | undefined>
  /** The names in a folder ('' for the run's own), in any order; none if there is no such folder. */
  list(path: string): Promise<string[]>
  /** Writes a file whole or not at all. Makes missing folders. */
  write(path: string, data: string | Uint8Array): Promise<void>
  /** Writes a folder of files whole or not at all, in place of an existing one. */
  writeFolder(path: string, fill: (write: WriteInto) => Promise<void>): Promise<void>
  /** Adds text or bytes at the end of a file. Calls take effect in their order. */
  append(path: string, data: string | Uint8Array): Promise<void>
  /** Removes a file, or a folder with its files, if it exists. */
  remove(path: string): Promise<void>
  /**
   * Makes this process the only one that writes the run, until the returned function is called.
   *
   * @throws an error of one line that names the process that holds the run
   */
  lock?(): Promise<() => Promise<void>>
}

/** Writes one file of a new folder. */
export type WriteInto = (name: string, data: string | Uint8Array) => Promise<void>

/**
 * Parses JSON.
 *
 * @param name of the file, for the message
 * @throws Error in one line that names the file
 */
export function parseJson(text: string, name: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Error(`${name}: not valid JSON (${(error as Error).message.replace(/\s+/g, ' ')})`, { cause: error })
  }
}
