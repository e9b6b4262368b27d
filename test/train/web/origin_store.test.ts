/** The private file system of a real browser, used from a page and from a worker. */
import { build } from 'esbuild'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { launchChromium, noChromium, serveFolder } from '../../support/browser.js'
import type { RunStore } from '../../../train/run/store.js'

// Functions below run in the page, where the store is a global.
declare const originStore: (run: string) => RunStore

const source = fileURLToPath(new URL('../../../train/web/origin_store.ts', import.meta.url))

describe.skipIf(noChromium('origin_store.test.ts'))('a run in the private file system', () => {
  let folder: string
  let server: { url: string; close(): void }
  let browser: Browser
  let page: Page

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-origin-'))
    const [contents, outfile] = [
      `globalThis.originStore = originStore; import { originStore } from '${source}'`,
      'store.js',
    ]
    await build({ stdin: { contents, resolveDir: folder }, bundle: true, outfile: join(folder, outfile) })
    writeFileSync(join(folder, 'index.html'), '<!doctype html><title>store</title><script src="store.js"></script>')
    server = await serveFolder(folder)
    browser = await launchChromium()
    page = await (await browser.newContext()).newPage()
    await page.goto(server.url)
  })
  afterAll(async () => {
    await browser?.close()
    server?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test('reads what was written, after the page was loaded again too', async () => {
    await page.evaluate(async () => {
      const store = originStore('runs/a')
      await Promise.all([
        store.append('lines', 'one\n'),
        store.append('lines', 'two\n'),
        store.append('lines', 'three\n'),
      ])
      await store.write('deep/er/file', Uint8Array.of(0, 255, 10))
      await store.write('deep/er/file', Uint8Array.of(7, 8))
      await store.write('gone', 'x')
      await store.remove('gone')
      await store.remove('never/there')
    })
    await page.reload()
    const read = await page.evaluate(async () => {
      const store = originStore('runs/a')
      return {
        lines: await store.readText('lines'),
        bytes: Array.from((await store.readBytes('deep/er/file'))!),
        absent: [await store.readText('gone'), await store.readBytes('not/there'), await store.readText('deep')],
        lists: [await store.list(''), await store.list('deep'), await store.list('not/there')],
        elsewhere: await originStore('runs/b').list(''),
        name: store.nameOf('lines'),
      }
    })
    expect(read.lines).toBe('one\ntwo\nthree\n')
    expect(read.bytes).toEqual([7, 8])
    expect(read.absent).toEqual([undefined, undefined, undefined])
    expect(read.lists.map((names) => names.sort())).toEqual([['deep', 'lines'], ['er'], []])
    expect(read.elsewhere).toEqual([])
    expect(read.name).toBe('origin:/runs/a/lines')
  })

  test('a folder is whole or absent, also when it replaces another', async () => {
    const seen = await page.evaluate(async () => {
      const store = originStore('runs/whole')
      const contents = async () => [await store.list('c'), await store.list('c/1'), await store.readText('c/1/a')]
      const seen: unknown[] = []
      await store.writeFolder('c/1', async (write) => {
        await write('a', 'first')
        await write('b', 'first')
        seen.push(await contents())
      })
      seen.push(await contents())
      const failed = store.writeFolder('c/1', async (write) => {
        await write('a', 'broken')
        throw new Error('full')
      })
      seen.push(await failed.catch((error: Error) => error.message), await contents())
      await store.writeFolder('c/1', (write) => write('a', 'second'))
      seen.push(await contents())
      await store.write('c/1/added', 'later')
      await store.remove('c/1/a')
      seen.push(await contents())
      await store.remove('c/1')
      seen.push(await contents())
      return seen
    })
    const sorted = seen.map((entry) =>
      Array.isArray(entry) ? entry.map((x) => (Array.isArray(x) ? x.sort() : x)) : entry,
    )
    expect(sorted).toEqual([
      [[], [], undefined],
      [['1'], ['a', 'b'], 'first'],
      'origin:/runs/whole/c/1: cannot be written (Error: full)',
      [['1'], ['a', 'b'], 'first'],
      [['1'], ['a'], 'second'],
      [['1'], ['added'], undefined],
      [[], [], undefined],
    ])
  })

  test('one tab holds a run, and removes what an interrupted one has left', async () => {
    const other = await page.context().newPage()
    await other.goto(server.url)
    // This page goes away while it holds the run and writes a folder.
    await other.evaluate(
      () =>
        new Promise<void>((resolve, reject) => {
          const store = originStore('runs/held')
          const fill = async (write: (name: string, data: string) => Promise<void>) => {
            await write('a', 'x')
            resolve()
            await new Promise(() => undefined)
          }
          store.lock!()
            .then(() => store.writeFolder('c/1', fill))
            .catch(reject)
        }),
    )
    const takeLock = () =>
      originStore('runs/held').lock!().then(
        (release) => release().then(() => 'held'),
        (error: Error) => error.message,
      )
    expect(await page.evaluate(takeLock)).toBe(
      'origin:/runs/held: another tab of this browser trains this run: close it',
    )
    await other.close()
    await expect.poll(() => page.evaluate(takeLock)).toBe('held')
    const left = await page.evaluate(async () => {
      const run = await (await navigator.storage.getDirectory()).getDirectoryHandle('runs')
      const folder = await (await run.getDirectoryHandle('held')).getDirectoryHandle('c')
      const names: string[] = []
      for await (const name of folder.keys()) names.push(name)
      return names
    })
    expect(left).toEqual([])
  })

  test('a worker appends to the same file', async () => {
    const text = await page.evaluate(async () => {
      const code = `importScripts('${location.origin}/store.js')
        const store = originStore('runs/worker')
        Promise.all(['b', 'c'].map((line) => store.append('lines', line))).then(() => postMessage('done'))`
      await originStore('runs/worker').append('lines', 'a')
      const worker = new Worker(URL.createObjectURL(new Blob([code])))
      await new Promise((resolve, reject) => {
        worker.onmessage = resolve
        worker.onerror = reject
      })
      await originStore('runs/worker').append('lines', 'd')
      return originStore('runs/worker').readText('lines')
    })
    expect(text).toBe('abcd')
  })
})
