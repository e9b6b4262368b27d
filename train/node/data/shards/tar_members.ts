/** Finds the members of a tar file without reading their contents: ustar, with the long names of GNU tar and of pax. */
import { Header, Pax } from 'tar'

/** Tar files consist of blocks of so many bytes. */
export const TAR_BLOCK = 512

/** A file in a tar file. */
export interface TarMember {
  readonly path: string
  /** Position of its first byte; a multiple of 512. */
  readonly start: number
  readonly bytes: number
}

/** A place of a tar file that cannot be read. */
export interface TarDamage {
  readonly damage: string
}

/** Bytes of one read. The headers of small members lie together. */
const WINDOW = 16 * 1024
/** Larger headers of pax or GNU are taken for damage. */
const LONGEST_NAME = 64 * 1024

/** Reads a few bytes at a time of a file by windows. */
export class Windows {
  private held: Buffer = Buffer.alloc(0)
  private at = 0

  constructor(
    readonly bytes: number,
    private readonly read: (start: number, end: number) => Promise<Buffer>,
  ) {}

  /** The bytes [start, end), or fewer at the end of the file. */
  async slice(start: number, end: number): Promise<Buffer> {
    const until = Math.min(end, this.bytes)
    if (start < this.at || until > this.at + this.held.length) {
      this.held = await this.read(start, Math.min(this.bytes, Math.max(until, start + WINDOW)))
      this.at = start
    }
    return this.held.subarray(start - this.at, until - this.at)
  }
}

/** The files of a tar file in their order, and what is damaged. After damage the next header that is whole is searched. */
export async function* tarMembers(file: Windows): AsyncGenerator<TarMember | TarDamage> {
  let named: { path?: string; size?: number } = {}
  let damagedFrom: number | undefined
  for (let at = 0; at + TAR_BLOCK <= file.bytes;) {
    const block = await file.slice(at, at + TAR_BLOCK)
    at += TAR_BLOCK
    const header = headerOf(block)
    if (header === 'empty') continue
    if (header === 'damaged') {
      damagedFrom ??= at - TAR_BLOCK
      continue
    }
    if (damagedFrom !== undefined) {
      yield { damage: `bytes ${damagedFrom} to ${at - TAR_BLOCK} are no tar file` }
      named = {}
      damagedFrom = undefined
    }
    const { type } = header
    const size = isExtension(type) ? header.size! : (named.size ?? header.size ?? 0)
    const path = named.path ?? header.path ?? ''
    const start = at
    at += TAR_BLOCK * Math.ceil(size / TAR_BLOCK)
    if (start + size > file.bytes) {
      yield { damage: `${path} ends after the file, which is truncated` }
      return
    }
    if (isExtension(type)) {
      if (size > LONGEST_NAME) yield { damage: `a name of ${size} bytes at byte ${start}` }
      else named = { ...named, ...extensionOf(type, await file.slice(start, start + size)) }
      continue
    }
    named = {}
    if (type === 'File' || type === 'OldFile' || type === 'ContiguousFile') yield { path, start, bytes: size }
  }
  if (damagedFrom !== undefined) yield { damage: `bytes ${damagedFrom} to ${file.bytes} are no tar file` }
}

function headerOf(block: Buffer): Header | 'empty' | 'damaged' {
  if (block.every((byte) => byte === 0)) return 'empty'
  try {
    const header = new Header(block)
    return header.cksumValid && Number.isSafeInteger(header.size ?? 0) && (header.size ?? 0) >= 0 ? header : 'damaged'
  } catch {
    return 'damaged'
  }
}

const isExtension = (type: string): boolean =>
  ['ExtendedHeader', 'GlobalExtendedHeader', 'NextFileHasLongPath', 'NextFileHasLongLinkpath'].includes(type)

function extensionOf(type: string, content: Buffer): { path?: string; size?: number } {
  const text = content.toString('utf8')
  if (type === 'NextFileHasLongPath') return { path: text.replace(/\0.*$/s, '') }
  if (type !== 'ExtendedHeader') return {}
  const { path, size } = Pax.parse(text)
  return { ...(path !== undefined && { path }), ...(Number.isSafeInteger(size) && size! >= 0 && { size }) }
}
