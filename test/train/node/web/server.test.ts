/** The server of `web`: what it gives, and what it refuses. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { encodeRecords } from '../../../../train/data/cifar_records.js'
import type { LocalServer } from '../../../../train/node/local_server.js'
import { startWebServer } from '../../../../train/node/web/server.js'
import type { Sample } from '../../../../train/web/protocol.js'

const COUNT = 3
const pixels = Uint8Array.from({ length: COUNT * 3072 }, (_, i) => (i * 7919) % 251)
let folder: string
let server: LocalServer

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-web-server-'))
  writeFileSync(join(folder, 'data_batch_1.bin'), encodeRecords(pixels, [2, 0, 9]))
  server = await startWebServer({ port: 0, dataDir: folder })
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

const get = (path: string): Promise<Response> => fetch(`${server.url}${path}`)

/** The status of a request whose headers go out as they are. */
const statusOf = (headers: Record<string, string>, method = 'GET') =>
  new Promise<number>((resolve, reject) => {
    const { port } = new URL(server.url)
    const sent = request({ host: '127.0.0.1', port, path: '/', method, headers }, (response) => {
      response.resume()
      resolve(response.statusCode!)
    })
    sent.on('error', reject)
    sent.end()
  })

test('gives the page, its bundle and nothing else', async () => {
  const page = await get('')
  expect(page.headers.get('content-security-policy')).toContain("worker-src 'self'")
  const text = await page.text()
  expect(text).toContain('<title>Watch a network learn to see')
  const names = [...text.matchAll(/(?:href|src)="([\w.]+)"/g)].map(([, name]) => name)
  expect(names).toEqual(['icon.svg', 'page.css', 'page.js'])
  for (const name of [...names, 'worker.js']) expect((await get(name)).status, name).toBe(200)
  // The browser has no Node.
  expect(await (await get('worker.js')).text()).not.toMatch(/from\s*"node:/)
  for (const path of ['main.ts', 'style.css', '../package.json']) expect((await get(path)).status, path).toBe(404)
})

test('gives the images of CIFAR-10 and their labels', async () => {
  const { count, height, width, labels, classes, bytes } = (await (await get('sample.json')).json()) as Sample
  expect({ count, height, width, labels }).toEqual({ count: COUNT, height: 32, width: 32, labels: [2, 0, 9] })
  expect(classes[9]).toBe('truck')
  const first = await get(`${bytes}?count=2`)
  expect(new Uint8Array(await first.arrayBuffer())).toEqual(pixels.subarray(0, 2 * 3072))
  expect((await (await get(`${bytes}?count=99`)).arrayBuffer()).byteLength).toBe(COUNT * 3072)
  for (const wrong of ['', '?count=0', '?count=x']) expect((await get(`${bytes}${wrong}`)).status, wrong).toBe(400)
})

test('answers its own page only', async () => {
  const { host } = new URL(server.url)
  expect(await statusOf({ host })).toBe(200)
  expect(await statusOf({ host: 'elsewhere.example' })).toBe(403)
  expect(await statusOf({ host, origin: 'https://elsewhere.example' })).toBe(403)
  expect(await statusOf({ host }, 'POST')).toBe(405)
})

test('says in one line why there are no images', async () => {
  const terminal = vi.spyOn(console, 'error').mockReturnValue()
  const empty = await startWebServer({ port: 0, dataDir: join(folder, 'nowhere') })
  try {
    const answer = await fetch(`${empty.url}sample.json`)
    expect(answer.status).toBe(500)
    expect(await answer.text()).toMatch(/^data folder .*nowhere does not exist; .*\n$/)
    expect(terminal).toHaveBeenCalledWith(expect.stringMatching(/^web: \/sample\.json: data folder/))
  } finally {
    terminal.mockRestore()
    await empty.close()
  }
})
