/** What the commands that serve a page share. */

const LARGEST_PORT = 65_535

/** A parser of ports for commander. */
export function port(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN
  if (!(value <= LARGEST_PORT))
    throw new Error(`--port: '${text}' is not a port: give a number from 0 to ${LARGEST_PORT}`)
  return value
}

/** Waits for Ctrl-C or another signal that ends a server. */
export const untilInterrupted = (): Promise<void> =>
  new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve())
  })
