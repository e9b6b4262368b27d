/** Attacks on the server of `npm run watch`, over raw connections, and whether it still answers others meanwhile. */
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Purpose, RandomStream } from '../../engine/index.js'

export interface Target {
  port: number
  /** What a file outside the server's folders holds: no answer may have it. */
  secret: string
  /** Its path on the disk. */
  secretPath: string
  /** The seed of the random requests. */
  seed: number
  /** Requests and clients are this share of those of `npm run torture -- servers`; 1 for all. */
  share: number
  /** Milliseconds after which the server may drop a client that does not finish its request. */
  patienceMs: number
}

export interface AttackResult {
  attack: string
  tried: number
  /** Answers with status 400 or more, and connections that the server closed or left without an answer. */
  refused: number
  /** Answers with status below 400. */
  answered: number
  /** The longest that another client waited for the page while the attack went on, milliseconds. */
  slowestMs: number
  /** What must not happen, and did. */
  failures: string[]
}

interface Attempt {
  status?: number
  answer: string
}

/** An attack sends requests, and says which of them the server must refuse. */
interface Attack {
  name: string
  /** Answers below 400 are failures. */
  refuses: boolean
  requests(target: Target): Buffer[]
  /** Milliseconds to wait for the first byte of an answer. */
  waitMs?: number
}

const AT_ONCE = 20
/** After this long without data an answer is complete. */
const QUIET_MS = 200
const LONGEST_KEPT = 100_000
const MS_BETWEEN_DRIPS = 50
/** However small the share, an attack makes so many requests, if it has them. */
const LEAST = 80

const text = (value: string): Buffer => Buffer.from(value, 'latin1')
const own = (port: number): string => `Host: 127.0.0.1:${port}\r\n`
const get = (path: string, port: number, more = ''): Buffer =>
  text(`GET ${path} HTTP/1.1\r\n${own(port)}${more}Connection: close\r\n\r\n`)

/** `..` in every disguise, before paths that exist. */
function traversals({ port, secretPath }: Target): Buffer[] {
  const ups = ['..', '%2e%2e', '.%2e', '%252e%252e', '..%00', '....', '%c0%ae%c0%ae', '..;', '\\..', '%5c..', '%u002e%u002e'] // prettier-ignore
  const slashes = ['/', '%2f', '%252f', '\\', '%5c', '//']
  const files = [secretPath.slice(1), 'etc/passwd', 'package.json', 'config.yaml']
  const paths = ups.flatMap((up) =>
    slashes.flatMap((slash) => files.map((file) => `/${`${up}${slash}`.repeat(8)}${file}`)),
  )
  const beside = ['/main.js', '/api/views', '/api/series'].flatMap((at) => paths.map((path) => `${at}${path}`))
  const runs = paths.map((path) => `/api/views?run=${path}`)
  const plain = [
    `//${secretPath}`,
    `/file://${secretPath}`,
    '/main.js%00.css',
    '/%00',
    '/%',
    '/%E0%A4%A',
    '/.git/config',
  ]
  return [...paths, ...beside, ...runs, ...plain].map((path) => get(path, port))
}

const foreignHosts = ['evil.example', '127.0.0.1.evil.example', 'localhost.evil.example:80', '10.0.0.1', '0.0.0.0', '[::]', '127.0.0.1@evil.example', 'evil.example#127.0.0.1', '127.0.0.1:', '127.0.0.1:99999999', '127.1', '2130706433', '0x7f.1', '[::ffff:127.0.0.1]', ' ', '', '\t127.0.0.1 evil', '%31%32%37.0.0.1', 'LOCALHOST.', '127.0.0.1,evil.example'] // prettier-ignore
const pathsOfServer = ['/', '/api/events', '/api/series?run=x', '/nothing']

const attacks: Attack[] = [
  { name: 'paths out of the folders: .., encoded, NUL', refuses: true, requests: traversals },
  {
    name: 'names of other hosts (DNS rebinding)',
    refuses: true,
    requests: () =>
      foreignHosts.flatMap((host) =>
        pathsOfServer.map((path) => text(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)),
      ),
  },
  {
    name: 'origins of other pages',
    refuses: true,
    requests: ({ port }) =>
      [
        'http://evil.example',
        'null',
        'https://127.0.0.1',
        'http://127.0.0.1:1',
        'http://localhost',
        'file://',
        '',
      ].flatMap((origin) => pathsOfServer.map((path) => get(path, port, `Origin: ${origin}\r\n`))),
  },
  {
    name: 'methods that write',
    refuses: true,
    requests: ({ port }) =>
      ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND', 'CONNECT', 'get', 'BREW'].flatMap((method) =>
        pathsOfServer.map((path) =>
          text(`${method} ${path} HTTP/1.1\r\n${own(port)}Content-Length: 4\r\nConnection: close\r\n\r\nbody`),
        ),
      ),
  },
  {
    name: 'huge headers, paths and bodies',
    refuses: true,
    requests: ({ port, share }) => {
      const big = (bytes: number): string => 'x'.repeat(Math.ceil(bytes * share))
      return [
        ...[1e5, 1e6, 1e7].map((bytes) => get('/nothing', port, `X: ${'x'.repeat(20_000)}${big(bytes)}\r\n`)),
        ...[1e5, 1e6, 1e7].map((bytes) => get(`/${'x'.repeat(20_000)}${big(bytes)}`, port)),
        get('/nothing', port, Array.from({ length: 20_000 }, (_, i) => `X${i}: y\r\n`).join('')),
        get('/nothing', port, `Cookie: ${'a=b; '.repeat(20_000)}\r\n`),
        get(`/api/series?run=${'%41'.repeat(20_000)}`, port),
        text(`POST / HTTP/1.1\r\n${own(port)}Content-Length: 999999999999\r\n\r\n${big(1e7)}`),
        text(
          `POST / HTTP/1.1\r\n${own(port)}Transfer-Encoding: chunked\r\n\r\n${`ffff\r\n${'x'.repeat(65_535)}\r\n`.repeat(20)}`,
        ),
      ]
    },
  },
  {
    name: 'smuggled and malformed requests',
    refuses: true,
    requests: ({ port }) =>
      [
        'hello\r\n\r\n',
        '\x00\xff\xfe\r\n\r\n',
        'GET /\r\n\r\n',
        'GET / HTTP/9.9\r\n\r\n',
        'GET  / HTTP/1.1\r\n\r\n',
        'GET / HTTP/1.1\r\n\r\n',
        'GET / HTTP/1.0\r\n\r\n',
        'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
        'GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n',
        'CONNECT evil.example:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
        `GET / HTTP/1.1\r\n${own(port)}Host: evil.example\r\n\r\n`,
        `GET / HTTP/1.1\r\n${own(port)}Content-Length: -5\r\n\r\n`,
        `GET / HTTP/1.1\r\n${own(port)}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx`,
        `POST / HTTP/1.1\r\n${own(port)}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n`,
        `POST / HTTP/1.1\r\n${own(port)}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
        `POST / HTTP/1.1\r\n${own(port)}Transfer-Encoding: chunked, identity\r\n\r\n`,
        `GET / HTTP/1.1\r\n${own(port)}X\r\n\r\n`,
        `GET / HTTP/1.1\r\n${own(port)} folded: x\r\n\r\n`,
        `GET / HTTP/1.1\r\n${own(port)}X: a\x00b\r\n\r\n`,
        `GET /\x00 HTTP/1.1\r\n${own(port)}\r\n`,
        `GET * HTTP/1.1\r\n${own(port)}\r\n`,
        `GET / HTTP/1.1\r\n${own(port)}Expect: nonsense\r\n\r\n`,
      ].map(text),
  },
  { name: 'random bytes and damaged requests', refuses: false, requests: damagedRequests },
  {
    name: 'upgrades to WebSocket and HTTP/2',
    refuses: false,
    requests: ({ port }) =>
      pathsOfServer.flatMap((path) =>
        ['websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13', 'h2c'].map((to) =>
          text(`GET ${path} HTTP/1.1\r\n${own(port)}Connection: Upgrade\r\nUpgrade: ${to}\r\n\r\n`),
        ),
      ),
  },
  {
    name: 'HTTP/1.0',
    refuses: false,
    requests: ({ port }) => pathsOfServer.map((path) => text(`GET ${path} HTTP/1.0\r\n${own(port)}\r\n`)),
  },
  {
    name: 'thousands of requests in one connection (pipelining)',
    refuses: false,
    waitMs: 10_000,
    requests: ({ port, share }) => [
      text(`GET /main.js HTTP/1.1\r\n${own(port)}\r\n`.repeat(Math.ceil(500 * share))),
      text(`GET /api/series?run=x HTTP/1.1\r\n${own(port)}\r\n`.repeat(Math.ceil(2000 * share))),
    ],
  },
]

function damagedRequests({ port, seed }: Target): Buffer[] {
  const random = new RandomStream(seed, Purpose.subset)
  const valid = ['/', '/api/events', '/api/series?run=a&axis=step&from=1', '/uplot.js'].map((path) => get(path, port))
  return Array.from({ length: 2000 }, (_, i) => {
    if (i % 5 === 0) return Buffer.from(Uint8Array.from({ length: random.integer(300) }, () => random.integer(256)))
    const bytes = Buffer.from(valid[i % valid.length])
    for (let edits = 1 + random.integer(4); edits > 0; edits--)
      bytes[random.integer(bytes.length)] = random.integer(256)
    return random.integer(4) ? bytes : bytes.subarray(0, random.integer(bytes.length))
  })
}

/** Sends bytes as they are, and reads what comes. */
function send(port: number, bytes: Buffer, waitMs = 5 * QUIET_MS): Promise<Attempt> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1')
    const end = (): void => {
      clearTimeout(timer)
      socket.destroy()
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(answer)?.[1]
      resolve({ answer, ...(status !== undefined && { status: Number(status) }) })
    }
    let timer = setTimeout(end, waitMs)
    socket.on('connect', () => socket.write(bytes))
    socket.on('data', (chunk: Buffer) => {
      if (answer.length < LONGEST_KEPT) answer += chunk.toString('latin1')
      clearTimeout(timer)
      timer = setTimeout(end, QUIET_MS)
      // Streams of events do not end.
      if (answer.includes('text/event-stream')) end()
    })
    socket.on('error', end)
    socket.on('close', end)
  })
}

/** Whether the page comes whole; the time that it took. */
export function visit(port: number): Promise<{ ms: number; whole: boolean }> {
  const begun = performance.now()
  return new Promise((resolve) => {
    const end = (whole: boolean): void => resolve({ ms: performance.now() - begun, whole })
    const sent = request({ host: '127.0.0.1', port, path: '/', agent: false, timeout: 10_000 }, (response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => (body += chunk.toString()))
      response.on('end', () => end(response.statusCode === 200 && body.includes('</html>')))
    })
    sent.on('timeout', () => sent.destroy())
    sent.on('error', () => end(false))
    sent.end()
  })
}

/** Visits the page again and again while `work` goes on. */
async function whileVisiting(port: number, result: AttackResult, work: () => Promise<void>): Promise<AttackResult> {
  let going = true
  const visiting = (async () => {
    do {
      const { ms, whole } = await visit(port)
      result.slowestMs = Math.max(result.slowestMs, ms)
      if (!whole) result.failures.push('another client got no page')
      await sleep(20)
    } while (going)
  })()
  await work()
  going = false
  await visiting
  return result
}

const empty = (attack: string): AttackResult => ({
  ...{ attack, tried: 0, refused: 0, answered: 0, slowestMs: 0 },
  failures: [],
})

async function perform(attack: Attack, target: Target): Promise<AttackResult> {
  const result = empty(attack.name)
  const all = attack.requests(target)
  const every = Math.max(1, Math.floor(all.length / Math.max(LEAST, all.length * target.share)))
  const requests = all.filter((_, i) => i % every === 0)
  const one = async (bytes: Buffer): Promise<void> => {
    const { status, answer } = await send(target.port, bytes, attack.waitMs)
    result.tried++
    if (status !== undefined && status < 400) result.answered++
    else result.refused++
    const shown = JSON.stringify(bytes.toString('latin1').slice(0, 120))
    if (answer.includes(target.secret) || answer.includes('root:x:0')) result.failures.push(`a file got out: ${shown}`)
    if (status === 101 || (status !== undefined && status >= 500)) result.failures.push(`status ${status}: ${shown}`)
    if (attack.refuses && status !== undefined && status < 400) result.failures.push(`status ${status}: ${shown}`)
  }
  return whileVisiting(target.port, result, async () => {
    for (let at = 0; at < requests.length; at += AT_ONCE) await Promise.all(requests.slice(at, at + AT_ONCE).map(one))
  })
}

const open = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket))
    socket.on('error', reject)
  })

/** Clients that hold connections. The server may drop them; `says` is what each sends, a byte at a time if `drips`. */
interface Holding {
  name: string
  clients: number
  says: (port: number) => string
  drips?: boolean
  /** The server must drop them within its patience. */
  dropped: boolean
}

const holdings: Holding[] = [
  { name: 'clients that say nothing', clients: 200, says: () => '', dropped: true },
  { name: 'clients that send a header byte by byte (slow loris)', clients: 200, says: (port) => `GET / HTTP/1.1\r\n${own(port)}X: ${'x'.repeat(1000)}`, drips: true, dropped: true }, // prettier-ignore
  { name: 'clients that never send their body', clients: 200, says: (port) => `GET /nothing HTTP/1.1\r\n${own(port)}Content-Length: 1000\r\n\r\n`, dropped: true }, // prettier-ignore
  { name: 'clients that follow and do not read', clients: 200, says: (port) => `GET /api/events HTTP/1.1\r\n${own(port)}\r\n`, dropped: false }, // prettier-ignore
  { name: 'clients that ask for much and do not read', clients: 200, says: (port) => `GET /uplot.js HTTP/1.1\r\n${own(port)}\r\n`.repeat(100), dropped: false }, // prettier-ignore
]

async function hold({ name, clients, says, drips, dropped }: Holding, target: Target): Promise<AttackResult> {
  const { port, share, patienceMs } = target
  const result = empty(name)
  const bytes = text(says(port))
  return whileVisiting(port, result, async () => {
    const sockets = await Promise.all(Array.from({ length: Math.ceil(clients * share) }, () => open(port)))
    result.tried = sockets.length
    const ends = sockets.map((socket) => {
      socket.on('error', () => undefined)
      if (dropped) socket.resume()
      else socket.pause()
      if (!drips) socket.write(bytes)
      return new Promise<'dropped'>((resolve) => socket.on('close', () => resolve('dropped')))
    })
    let at = 0
    const drip = (): void => {
      for (const socket of sockets) if (!socket.destroyed) socket.write(bytes.subarray(at, at + 1))
      at++
    }
    const dripping = drips && setInterval(drip, MS_BETWEEN_DRIPS)
    const outcomes = await Promise.all(
      ends.map((end) => Promise.race([end, sleep(dropped ? patienceMs : patienceMs / 10, 'held' as const)])),
    )
    if (dripping) clearInterval(dripping)
    result.refused = outcomes.filter((outcome) => outcome === 'dropped').length
    result.answered = outcomes.length - result.refused
    if (dropped && result.answered > 0) result.failures.push(`${result.answered} clients still hold their connections`)
    for (const socket of sockets) socket.destroy()
  })
}

/** Performs every attack. @param onAttack called after each */
export async function attackServer(target: Target, onAttack: (result: AttackResult) => void): Promise<AttackResult[]> {
  const results: AttackResult[] = []
  const work = [
    ...attacks.map((attack) => () => perform(attack, target)),
    ...holdings.map((holding) => () => hold(holding, target)),
  ]
  for (const one of work) {
    results.push(await one())
    onAttack(results.at(-1)!)
  }
  return results
}
