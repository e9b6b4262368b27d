/** Servers of pages for this machine: they listen on 127.0.0.1 only. `watch/guard.ts` says which requests they answer. */
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import type { Hono } from 'hono'
import { errorCode } from './files.js'

export interface LocalServer {
  /** Where the page is, such as `http://127.0.0.1:6006/`. */
  url: string
  close(): Promise<void>
}

export interface ListenOptions {
  /** The port to listen on, 0 for any; by default `firstPort` or the next free one. */
  port?: number
  firstPort: number
  /** A request that takes longer than this to arrive is refused, 10,000 ms by default. */
  requestMs?: number
}

const PORTS_TRIED = 100
const HOST = '127.0.0.1'
const MOST_CONNECTIONS = 1000
/** Of one connection: a client that sends many at once must let others in. Browsers open the next connection. */
const MOST_REQUESTS = 100
/** Clients that hold a connection and send nothing must not keep others away. */
const REQUEST_MS = 10_000
const CHECKING_MS = 1000

/** @throws where the wanted port is in use */
export async function serveLocally({ fetch }: Hono, options: ListenOptions): Promise<LocalServer> {
  const { requestMs = REQUEST_MS } = options
  const server = createServer(
    {
      headersTimeout: requestMs,
      requestTimeout: requestMs,
      connectionsCheckingInterval: Math.min(requestMs, CHECKING_MS),
    },
    inTurn(getRequestListener(fetch, { overrideGlobalObjects: false })),
  )
  server.maxConnections = MOST_CONNECTIONS
  server.maxRequestsPerSocket = MOST_REQUESTS
  const bound = await listen(server, options)
  return {
    url: `http://${HOST}:${bound}/`,
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      // Pages that follow would keep the server open; their streams end with their connections.
      server.closeAllConnections()
      return closed
    },
  }
}

/**
 * Answers the requests of one connection one after another. A client that sends many at once and does not read would
 * otherwise fill the memory with answers.
 */
function inTurn(listener: RequestListener): RequestListener {
  const last = new WeakMap<Socket, Promise<void>>()
  return (request, response) => {
    const { socket } = request
    const answered = new Promise<void>((resolve) => response.once('close', resolve))
    const before = last.get(socket)
    last.set(socket, answered)
    if (!before) listener(request, response)
    else void before.then(() => socket.destroyed || listener(request, response))
  }
}

async function listen(server: Server, { port: wanted, firstPort }: ListenOptions): Promise<number> {
  const candidates = wanted === undefined ? Array.from({ length: PORTS_TRIED }, (_, i) => firstPort + i) : [wanted]
  for (const port of candidates)
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(port, HOST, () => (server.off('error', reject), resolve()))
      })
      return (server.address() as AddressInfo).port
    } catch (error) {
      if (errorCode(error) !== 'EADDRINUSE' && errorCode(error) !== 'EACCES') throw error
    }
  const ports = wanted === undefined ? `ports ${firstPort} to ${firstPort + PORTS_TRIED - 1} are` : `port ${wanted} is`
  throw new Error(`--port: ${ports} in use: choose another one`)
}
