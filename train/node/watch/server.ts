/**
 * The server of `npm run watch`: a page on 127.0.0.1 that follows runs.
 *
 *     /                        the page; its scripts, style and uPlot beside it
 *     /api/events              server-sent events: `runs` with all runs at first, then with those that changed
 *     /api/series?run=…        thinned series of a run; axis, since, from, to as SeriesQuery
 *     /api/spectra?run=…       eigenvalues of a run's diagnoses
 *     /api/views?run=…         the run's latest views, PNG
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Hono, type Context } from 'hono'
import { streamSSE, type SSEStreamingApi } from 'hono/streaming'
import { serveLocally, type LocalServer } from '../local_server.js'
import { contentPolicy, guard } from './guard.js'
import type { Axis, RunReader, RunSummary } from './run_reader.js'
import { RunWatcher, type WatcherOptions } from './run_watcher.js'

export type WatchServer = LocalServer

export interface WatchServerOptions extends WatcherOptions {
  /** The port to listen on, 0 for any; by default 6006 or the next free one. */
  port?: number
  /** Milliseconds in which a client must have sent its request; 10,000 by default. */
  requestMs?: number
}

/** What an event `runs` holds. */
export interface RunsEvent {
  /** These are all runs, not only those that changed. */
  all: boolean
  runs: RunSummary[]
  /** Runs that are no longer there. */
  gone: string[]
}

const DEFAULT_PORT = 6006
/** A comment is sent after so long without an event, so that a lost client is noticed. */
const HEARTBEAT_MS = 15_000
const MOST_STREAMS = 500

const pageFolder = fileURLToPath(new URL('../../web/watch/', import.meta.url))
const require = createRequire(import.meta.url)

const contentTypes: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/**
 * Starts the server.
 *
 * @param folders runs, or folders that hold runs
 * @throws where the wanted port is in use
 */
export async function startWatchServer(
  folders: readonly string[],
  { port, requestMs, ...options }: WatchServerOptions = {},
): Promise<WatchServer> {
  const watcher = new RunWatcher(folders, options)
  return serveLocally(watchApp(watcher), { port, firstPort: DEFAULT_PORT, requestMs })
}

/** The requests that the server answers. */
function watchApp(watcher: RunWatcher): Hono {
  const files = pageFiles()
  const app = new Hono()
  app.use(guard(contentPolicy(files.get('/')!.toString())))
  for (const [path, body] of files)
    app.get(path, (c) => c.body(body, 200, { 'Content-Type': contentTypes[extname(path) || '.html'] }))

  /** Answers for the run that a request names. Names are looked up, never used as paths. */
  const ofRun = (answer: (c: Context, run: RunReader) => Promise<Response>) => async (c: Context) => {
    await watcher.refresh()
    const run = watcher.runs.get(c.req.query('run') ?? '')
    return run ? answer(c, run) : c.text('There is no such run.\n', 404)
  }
  app.get(
    '/api/series',
    ofRun(async (c, run) => {
      const axis = c.req.query('axis') ?? 'step'
      const [from, to] = ['from', 'to'].map((name) => numberOr(c.req.query(name), undefined))
      if (!isAxis(axis) || Number.isNaN(from) || Number.isNaN(to)) return c.text('axis, from or to is wrong.\n', 400)
      return c.json(await run.series({ axis, since: c.req.query('since'), from, to }))
    }),
  )
  app.get(
    '/api/spectra',
    ofRun(async (c, run) => c.json(await run.spectra())),
  )
  app.get(
    '/api/views',
    ofRun(async (c, run) => {
      const png = await run.views()
      return png ? c.body(new Uint8Array(png), 200, { 'Content-Type': 'image/png' }) : c.text('No views yet.\n', 404)
    }),
  )
  let streams = 0
  app.get('/api/events', (c) => {
    // Nobody would read the stream of an answer that has no body.
    if (c.req.method === 'HEAD') return c.body(null, 200, { 'Content-Type': 'text/event-stream' })
    if (streams >= MOST_STREAMS) return c.text('Too many pages are open.\n', 503)
    streams++
    return streamSSE(c, (stream) => follow(stream, watcher).finally(() => streams--))
  })
  app.notFound((c) => c.text('There is no such page.\n', 404))
  app.onError((error, c) => {
    console.error(`watch: ${c.req.path}: ${error.message}`)
    return c.text('The server could not answer; its terminal says why.\n', 500)
  })
  return app
}

/**
 * Sends all runs and then, until the client goes, those that changed. A client that reads slowly gets fewer events
 * with what is then the newest, so nothing queues up.
 */
async function follow(stream: SSEStreamingApi, watcher: RunWatcher): Promise<void> {
  const sent = new Map<string, RunReader>()
  const revisions = new Map<string, number>()
  let wake = (): void => undefined
  let changed = true
  const stopListening = watcher.listen(() => {
    changed = true
    wake()
  })
  stream.onAbort(() => wake())
  try {
    await watcher.refresh()
    for (let id = 0; !stream.aborted;) {
      if (changed) {
        changed = false
        const event: RunsEvent = { all: id === 0, ...changesSince(watcher, sent, revisions) }
        await stream.writeSSE({ event: 'runs', id: String(id++), data: JSON.stringify(event) })
      } else await stream.write(': still here\n\n')
      if (changed) continue
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, HEARTBEAT_MS)
        wake = () => (clearTimeout(timer), resolve())
        if (stream.aborted) wake()
      })
    }
  } finally {
    stopListening()
  }
}

/** What a client lacks, which is then taken for sent. */
function changesSince(watcher: RunWatcher, sent: Map<string, RunReader>, revisions: Map<string, number>) {
  const gone = [...sent.keys()].filter((id) => watcher.runs.get(id) !== sent.get(id))
  for (const id of gone) {
    sent.delete(id)
    revisions.delete(id)
  }
  const changed = [...watcher.runs.values()].filter(({ id, revision }) => revisions.get(id) !== revision)
  for (const run of changed) {
    sent.set(run.id, run)
    revisions.set(run.id, run.revision)
  }
  return { runs: changed.map(({ summary }) => summary), gone }
}

/** Everything that the page loads, by path. It is read once; nothing else is ever served from the disk. */
function pageFiles(): Map<string, Buffer<ArrayBuffer>> {
  const files = new Map<string, Buffer<ArrayBuffer>>()
  for (const name of readdirSync(pageFolder))
    if (extname(name) in contentTypes) files.set(`/${name}`, readFileSync(join(pageFolder, name)))
  files.set('/', files.get('/index.html')!)
  for (const [path, name] of [
    ['/uplot.js', 'uplot/dist/uPlot.esm.js'],
    ['/uplot.css', 'uplot/dist/uPlot.min.css'],
  ])
    files.set(path, readFileSync(require.resolve(name)))
  return files
}

const isAxis = (text: string): text is Axis => ['step', 'epoch', 'hours'].includes(text)

const numberOr = <T>(text: string | undefined, otherwise: T): number | T =>
  text === undefined ? otherwise : Number(text)

/** @throws in one line where a folder that a user names does not exist */
export function checkFolders(folders: readonly string[]): void {
  const missing = folders.find((folder) => !existsSync(folder))
  if (missing !== undefined) throw new Error(`${missing}: there is no such folder`)
}
