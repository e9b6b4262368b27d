/** What all commands share, including the doctor. */
import { CommanderError, type Command } from 'commander'

/** Adds the option of every command that uses an adapter. */
export const withAdapter = (command: Command): Command =>
  command.option('--adapter <name>', "'hardware', 'system', 'lavapipe', 'swiftshader' or part of an adapter's name")

/** An option on the command line: `--weight-decay` for weightDecay. */
export const optionOf = (name: string): string => `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`

/** A message of the library, which quotes options as `weightDecay`, with the options as on the command line. */
export const asCommandLine = (message: string): string =>
  message.replace(/`([a-z][A-Za-z0-9]*)`/g, (_, name: string) => optionOf(name))

/** Parses the command line. It throws for `--help` and for a wrong option, which `runCommand` handles. */
export function parseOptions<T>(command: Command): T {
  command
    .name(`webgpu-ssl ${command.name()}`)
    .configureOutput({ writeErr: () => undefined })
    .exitOverride((error) => {
      // npm takes options for its own unless -- comes before them, and passes on the values alone.
      if (error.code === 'commander.excessArguments' && process.env.npm_lifecycle_event)
        throw new Error(
          `${error.message.replace(/^error: /, '').split('\n')[0]} After npm run, write -- before the options: npm run ${process.env.npm_lifecycle_event} -- --help`,
        )
      if (error.code !== 'commander.unknownOption') throw error
      // Commander puts its suggestion in parentheses on a second line.
      const [line, suggestion] = error.message.split('\n')
      const near = suggestion ? `. ${suggestion.slice(1, -1)}` : ''
      throw new Error(`${line}${near} (--help lists all)`)
    })
    .parse()
  const given: Record<string, unknown> = command.opts()
  // An empty name usually comes from a variable of the shell that is not set.
  const empty = Object.keys(given).find((name) => given[name] === '')
  if (empty !== undefined) throw new Error(`${optionOf(empty)} '': the value is empty`)
  return given as T
}

/** A text from outside for a terminal: control characters are escaped, so that they neither hide nor fake anything. */
export const printable = (text: string): string =>
  // C0 and C1 controls, and the marks that reorder text.
  // eslint-disable-next-line no-control-regex
  text.replace(/[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]/g, (character) =>
    character === '\n'
      ? '\\n'
      : character === '\t'
        ? '\\t'
        : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )

/** Text in lines shorter than a number of columns, broken between words. What follows a break is indented by two. */
export function wrapped(text: string, columns: number): string {
  const lines = text.split('\n').flatMap((line) => {
    const broken = ['']
    for (const word of line.split(/(?<=\S) /)) {
      const last = broken.length - 1
      const joined = broken[last] === '' ? word : `${broken[last]} ${word}`
      if (joined.length < columns || broken[last].trim() === '') broken[last] = joined
      else broken.push(`  ${word}`)
    }
    return broken
  })
  return lines.join('\n')
}

/** Prints text to stderr; see `sayOn`. */
export const say = (text: string): void => sayOn(process.stderr, text)

/**
 * Prints lines, with control characters escaped. On a terminal they are broken between words, because a terminal cuts
 * long lines within a word.
 */
export function sayOn(stream: NodeJS.WriteStream, text: string): void {
  const lines = text.split('\n').map(printable).join('\n')
  stream.write(`${stream.isTTY ? wrapped(lines, stream.columns || 80) : lines}\n`)
}

/** What writing to a stream reports when its reader or its terminal is gone. */
const GONE = ['EPIPE', 'EIO', 'ECONNRESET', 'ENOTCONN', 'ERR_STREAM_DESTROYED']

/** Why output could not be written although it has a reader, such as a full disk. */
let unwritten: string | undefined

/**
 * Keeps a command running when its output can no longer be written: `tee` or the terminal may end before it does, and
 * the disk of a log may be full. The command does its work; `runCommand` then ends it with exit code 1 unless only the
 * reader has gone.
 */
export function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', ({ code = 'unknown error' }: NodeJS.ErrnoException) => {
      if (!GONE.includes(code)) unwritten ??= code
    })
}

function sayIfUnwritten(): void {
  if (unwritten === undefined) return
  const reason = unwritten === 'ENOSPC' ? ': there is no space left' : ''
  console.error(`error: some of the output could not be written (${unwritten})${reason}; the command itself is done`)
  process.exitCode = 1
}

/**
 * Runs a command. An error is one line on stderr and exit code 1. The text `detail` of an error, for example code to
 * copy, follows that line. `WEBGPU_SSL_DEBUG` adds the stack.
 */
export async function runCommand(main: () => Promise<void>): Promise<void> {
  outliveReaders()
  try {
    await main()
    // A failure to write is reported after the write.
    await new Promise((resolve) => setImmediate(resolve))
    process.exitCode ??= 0
    sayIfUnwritten()
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) process.exit(0)
    const { message, stack, detail } = error as Error & { detail?: unknown }
    const line = printable(asCommandLine(String(message ?? error)).replace(/^error: /, ''))
    console.error(process.env.WEBGPU_SSL_DEBUG ? stack : `error: ${line}`)
    if (typeof detail === 'string') console.error(detail)
    process.exitCode = 1
  }
  // Dawn's threads would keep the process alive.
  process.exit()
}
