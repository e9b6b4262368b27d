/**
 * The server of `npm run web`: the page that trains in the browser, on 127.0.0.1.
 *
 *     /                    the page; its scripts and style beside it
 *     /sample.json         what CIFAR-10 holds
 *     /sample.bin?count=N  its first N images, RGB bytes
 */
import { extname } from 'node:path'
import { Hono } from 'hono'
import type { ArrayDataset } from '../../data/dataset.js'
import { serveLocally, type LocalServer } from '../local_server.js'
import { guard } from '../watch/guard.js'
import { contentTypes, describeSample, loadSample, pageFiles } from './files.js'

export interface WebServerOptions {
  /** The port to listen on, 0 for any; by default 6106 or the next free one. */
  port?: number
  /** Folder with CIFAR-10's official files; the cache by default. */
  dataDir?: string
}

const FIRST_PORT = 6106

/** The page loads only what this server has. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "worker-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** @throws where the wanted port is in use */
export async function startWebServer({ port, dataDir }: WebServerOptions = {}): Promise<LocalServer> {
  const files = await pageFiles()
  let loading: Promise<ArrayDataset> | undefined
  /** Loads the images when somebody asks for them, and again after a failure. */
  const sample = (): Promise<ArrayDataset> =>
    (loading ??= loadSample(dataDir).catch((error: unknown) => {
      loading = undefined
      throw error
    }))

  const app = new Hono()
  app.use(guard(policy))
  for (const [name, body] of files)
    app.get(name === 'index.html' ? '/' : `/${name}`, (c) =>
      c.body(body, 200, { 'Content-Type': contentTypes[extname(name)] }),
    )
  app.get('/sample.json', async (c) => c.json(describeSample(await sample(), { bytes: 'sample.bin' })))
  app.get('/sample.bin', async (c) => {
    const { images, count, height, width } = await sample()
    const wanted = Number(c.req.query('count'))
    if (!Number.isInteger(wanted) || wanted < 1) return c.text('count must be a whole number of at least 1.\n', 400)
    const bytes = images.slice(0, Math.min(wanted, count) * height * width * 3)
    return c.body(bytes as Uint8Array<ArrayBuffer>, 200, { 'Content-Type': 'application/octet-stream' })
  })
  app.notFound((c) => c.text('There is no such page.\n', 404))
  app.onError((error, c) => {
    console.error(`web: ${c.req.path}: ${error.message}`)
    return c.text(`${error.message}\n`, 500)
  })
  return serveLocally(app, { port, firstPort: FIRST_PORT })
}
