/** Where shards are read from: a folder or a server. */
import type { Split } from '../../../data/dataset.js'

export interface ShardSource {
  /** The folder or the URL. */
  readonly name: string
  /** Names of the shards of a split in order; undefined where they cannot be listed. */
  list(split: Split): Promise<string[] | undefined>
  /** Size of a file in bytes, and what changes when the file does, if that is known; undefined: there is no such file. */
  look(file: string): Promise<{ bytes: number; version?: number } | undefined>
  /**
   * Reads the bytes [start, end) of a file.
   *
   * @param bytes size that the file must have
   * @throws LostDataError in one line if the file is missing, is shorter, or the server is lost
   */
  read(file: string, range: { start: number; end: number; bytes: number }): Promise<Buffer>
  /** Ends the reads that are under way, which then fail. */
  cancel?(): void
  /** Of a file, for messages. */
  pathOf(file: string): string
}

/** The file that lists the samples of a split. */
export const indexFile = (split: Split): string => `${split === 'test' ? 'val' : 'train'}-index.safetensors`

/** Whether a shard belongs to the test split. */
export const splitOf = (shard: string): Split =>
  /(^|[^a-z])(val|valid|validation|test)([^a-z]|$)/i.test(shard) ? 'test' : 'train'
