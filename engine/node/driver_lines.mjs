// Removes lines that Dawn writes on every start, and that say nothing to a user, from the stderr of a process.

/** @type {RegExp[]} */
const known = [
  /^Warning: maxDynamic(Uniform|Storage)BuffersPerPipelineLayout artificially reduced from \d+ to \d+ to fit dynamic offset allocation limit\.\r?\n?$/,
]
/** What every known line begins with. */
const beginning = 'Warning: maxDynamic'

/** A filter of bytes. It passes everything on at once, except a line that may still become a known one.
 * @returns {{ push(bytes: Uint8Array): Buffer, end(): Buffer }} each gives the bytes to pass on */
export function withoutDriverLines() {
  // Latin-1 keeps every byte, so characters that are cut between two calls stay whole.
  let held = ''
  let atLineStart = true
  return {
    push(bytes) {
      let out = ''
      for (const piece of (held + Buffer.from(bytes).toString('latin1')).match(/[^\n]*\n|[^\n]+$/g) ?? []) {
        const start = held !== '' || atLineStart
        held = ''
        const whole = piece.endsWith('\n')
        if (start && !whole && (beginning.startsWith(piece) || piece.startsWith(beginning))) {
          held = piece
          break
        }
        if (!(start && whole && known.some((line) => line.test(piece)))) out += piece
        atLineStart = whole
      }
      return Buffer.from(out, 'latin1')
    },
    end() {
      const rest = known.some((line) => line.test(held)) ? '' : held
      held = ''
      return Buffer.from(rest, 'latin1')
    },
  }
}
