import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { request, type IncomingMessage } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startWatchServer, type RunsEvent, type WatchServer } from '../../../../train/node/watch/server.js'
import { makeUpRun, paintViews, type MadeUpRun } from './made_up_runs.js'

let folder: string
let server: WatchServer
let port: number
let made: MadeUpRun
let id: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-server-'))
  made = makeUpRun(join(folder, 'runs', 'a'))
  made.growTo(100)
  writeFileSync(join(folder, 'secret.txt'), 'secret')
  server = await startWatchServer([join(folder, 'runs')], { port: 0, interval: 50 })
  port = Number(new URL(server.url).port)
  const { runs } = await firstEvent()
  id = runs[0].id
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

interface Answer {
  status: number
  headers: IncomingMessage['headers']
  body: string
}

/** A request whose path and headers go out as they are: fetch would repair them. */
function ask(
  path: string,
  { method = 'GET', headers = {} }: { method?: string; headers?: Record<string, string> } = {},
) {
  return new Promise<Answer>((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, method, headers, agent: false }, (response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => (body += chunk.toString()))
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body }))
    })
    sent.on('error', reject)
    sent.end()
  })
}

/** Opens the stream of events and calls back for each. */
async function follow(onEvent: (event: RunsEvent) => void): Promise<AbortController> {
  const stop = new AbortController()
  const response = await fetch(`${server.url}api/events`, { signal: stop.signal })
  const read = async () => {
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      text += part.value
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const data = /^data: (.*)$/m.exec(text.slice(0, end))
        if (data) onEvent(JSON.parse(data[1]) as RunsEvent)
        text = text.slice(end + 2)
      }
    }
  }
  void read().catch(() => undefined)
  return stop
}

const firstEvent = () =>
  new Promise<RunsEvent>((resolve, reject) => {
    const stopping = follow((event) => {
      void stopping.then((stop) => stop.abort())
      resolve(event)
    })
    stopping.catch(reject)
  })

describe('what is served', () => {
  test.each([
    ['/', 'text/html'],
    ['/main.js', 'text/javascript'],
    ['/style.css', 'text/css'],
    ['/uplot.js', 'text/javascript'],
    ['/uplot.css', 'text/css'],
    ['/icon.svg', 'image/svg'],
  ])('%s as %s, for this page only', async (path, type) => {
    const { status, headers } = await ask(path)
    expect(status).toBe(200)
    expect(headers['content-type']).toContain(type)
    expect(headers['content-security-policy']).toContain("default-src 'none'")
    expect(headers['cross-origin-resource-policy']).toBe('same-origin')
    expect(headers['x-content-type-options']).toBe('nosniff')
  })

  test('all runs at first, then only what changed, and what is gone', async () => {
    const events: RunsEvent[] = []
    const stop = await follow((event) => events.push(event))
    await expect.poll(() => events.length).toBe(1)
    expect(events[0]).toMatchObject({ all: true, runs: [{ id, step: 100 }] })
    const other = makeUpRun(join(folder, 'runs', 'b'))
    other.growTo(3)
    await expect.poll(() => events.at(-1)!.runs.map(({ step }) => step)).toEqual([3])
    expect(events.at(-1)!.all).toBe(false)
    rmSync(other.folder, { recursive: true })
    await expect.poll(() => events.at(-1)!.gone.length).toBe(1)
    stop.abort()
  })

  test('series, spectra and views of a run', async () => {
    const query = `run=${encodeURIComponent(id)}`
    const series = JSON.parse((await ask(`/api/series?${query}&from=90`)).body) as { series: object }
    expect(series.series).toMatchObject({ 'metrics.loss': { x: [90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100] } })
    expect(JSON.parse((await ask(`/api/spectra?${query}`)).body)).toMatchObject([{ step: 50 }, { step: 100 }])
    expect((await ask(`/api/views?${query}`)).status).toBe(404)
    await paintViews(made.folder)
    expect((await ask(`/api/views?${query}`)).headers['content-type']).toBe('image/png')
  })

  test('HEAD as GET without a body, also for the stream of events', async () => {
    for (const path of ['/', '/api/events'])
      expect(await ask(path, { method: 'HEAD' })).toMatchObject({ status: 200, body: '' })
  })

  test.each(['axis=weeks', 'from=x', 'to=NaN'])('a wrong question gets 400: %s', async (query) => {
    expect((await ask(`/api/series?run=${encodeURIComponent(id)}&${query}`)).status).toBe(400)
  })
})

describe('what is refused', () => {
  test.each(['evil.example', `evil.example:6006`, '127.0.0.1.evil.example', 'localhost.evil.example:80', '10.0.0.1'])(
    'the name %s, which may have been resolved to this machine (DNS rebinding)',
    async (host) => {
      for (const path of ['/', '/api/events', '/api/series?run=x', '/nothing'])
        expect([400, 403]).toContain((await ask(path, { headers: { Host: host } })).status)
    },
  )

  test.each(['http://evil.example', 'null', 'https://127.0.0.1', 'http://127.0.0.1:1'])(
    'the origin %s',
    async (Origin) => {
      expect((await ask('/api/events', { headers: { Origin } })).status).toBe(403)
    },
  )

  test('loopback names with any port and their own origin are answered, as through a forwarded port', async () => {
    for (const host of [`127.0.0.1:${port}`, 'localhost:8000', '[::1]:9000'])
      expect((await ask('/', { headers: { Host: host, Origin: `http://${host}` } })).status).toBe(200)
  })

  test.each(['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])('%s', async (method) => {
    expect((await ask('/', { method })).status).toBe(405)
  })

  test.each([
    '/../package.json',
    '/..%2f..%2fpackage.json',
    '/%2e%2e/%2e%2e/package.json',
    '/....//package.json',
    '/main.js/../../package.json',
    '/main.js%00.css',
    '//etc/passwd',
    '/api/views?run=../../secret.txt',
    '/api/views?run=/etc',
    '/api/series?run=__proto__',
    '/api/series',
    '/%E0%A4%A',
  ])('the path %s', async (path) => {
    const { status, body } = await ask(path)
    expect([400, 404]).toContain(status)
    expect(body).not.toContain('secret')
    expect(body.length).toBeLessThan(200)
  })

  test('a picture that is a link out of the run', async () => {
    const linked = makeUpRun(join(folder, 'runs', 'linked'))
    symlinkSync(join(folder, 'secret.txt'), join(linked.folder, 'views.png'))
    // New runs are looked for at every fifth poll.
    await expect
      .poll(async () => (await ask(`/api/series?run=${encodeURIComponent(id.replace(/a$/, 'linked'))}`)).status)
      .toBe(200)
    expect((await ask(`/api/views?run=${encodeURIComponent(id.replace(/a$/, 'linked'))}`)).status).toBe(404)
    rmSync(linked.folder, { recursive: true })
  })
})

describe('what the server survives', () => {
  const open = () =>
    new Promise<Socket>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve(socket))
      socket.on('error', reject)
    })

  test('200 clients that say nothing and 200 that follow and do not read', async () => {
    const silent = await Promise.all(Array.from({ length: 200 }, open))
    const following = await Promise.all(Array.from({ length: 200 }, open))
    for (const socket of following) {
      socket.pause()
      socket.write(`GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
    }
    const begun = performance.now()
    made.growTo(110)
    expect((await ask('/')).status).toBe(200)
    expect((await firstEvent()).all).toBe(true)
    expect(performance.now() - begun).toBeLessThan(5000)
    for (const socket of [...silent, ...following]) socket.destroy()
    expect((await firstEvent()).runs[0].step).toBe(110)
  })

  test.each([
    ['no HTTP', 'hello\r\n\r\n'],
    ['bytes', '\x00\xff\xfe\r\n\r\n'],
    ['no host', 'GET / HTTP/1.1\r\n\r\n'],
    ['an empty host', 'GET / HTTP/1.1\r\nHost: \r\n\r\n'],
    ['two hosts', 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n'],
    ['a host that is no host', 'GET / HTTP/1.1\r\nHost: %%%/\\\r\n\r\n'],
    ['another server', 'GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'],
    ['a header of 100 kB', `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`],
    ['a length that is wrong', 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n'],
    ['a tunnel', 'CONNECT evil.example:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'],
    ['an upgrade', 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'],
    ['half a request', 'GET / HT'],
  ])('%s', async (_, text) => {
    const socket = await open()
    let answer = ''
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
    socket.on('error', () => undefined)
    socket.write(Buffer.from(text, 'latin1'))
    await new Promise((resolve) => setTimeout(resolve, 50))
    socket.destroy()
    expect(answer).not.toMatch(/^HTTP\/1.1 5/)
    expect((await ask('/')).status).toBe(200)
  })
})

describe('the port', () => {
  test('one that is in use is refused in one line', async () => {
    await expect(startWatchServer([folder], { port })).rejects.toThrow(`--port: port ${port} is in use`)
  })

  test('without a wish it is 6006 or the next free one', async () => {
    const blocker = createServer()
    await new Promise<void>((resolve) => blocker.once('error', () => resolve()).listen(6006, '127.0.0.1', resolve))
    const other = await startWatchServer([folder])
    expect(Number(new URL(other.url).port)).toBeGreaterThan(6006)
    expect((await fetch(other.url)).status).toBe(200)
    await other.close()
    blocker.close()
  })
})
