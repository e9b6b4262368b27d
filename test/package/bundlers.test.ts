/** The package in the tools that web developers use: each builds one page, and the page trains in a browser. */
import { build as esbuild } from 'esbuild'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { build as viteBuild, createServer, type InlineConfig } from 'vite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import webpack from 'webpack'
import { extractFeatures, fromArrays, pretrain, resolveConfig } from '../../train/index.js'
import { launchChromium, noChromium, serveFolder } from '../support/browser.js'
import { engine } from '../support/engine.js'
import { installedProject, root } from './project.js'

const PAGE =
  '<!doctype html><title>page</title><link rel="icon" href="data:," /><script type="module" src="./page.js"></script>'

/** What the page leaves: see consumer/page.js. */
interface Result {
  error?: string
  losses: number[][]
  features: number[]
}

let folder: string
beforeAll(async () => {
  folder = (await installedProject()).folder
  writeFileSync(join(folder, 'index.html'), PAGE)
})

/** A folder with the page, for a bundler that makes only the script. */
function outputFolder(name: string): string {
  const output = join(folder, name)
  mkdirSync(output, { recursive: true })
  writeFileSync(join(output, 'index.html'), PAGE)
  return output
}

const entry = () => join(folder, 'page.js')
const vite = (): InlineConfig => ({ root: folder, configFile: false, logLevel: 'error', build: { target: 'esnext' } })

/** Each tool gives the address of the page. */
const tools: Record<string, () => Promise<{ url: string; close(): unknown }>> = {
  async 'vite dev'() {
    const server = await (await createServer({ ...vite(), server: { port: 0, host: 'localhost' } })).listen()
    return { url: server.resolvedUrls!.local[0], close: () => server.close() }
  },
  async 'vite build'() {
    await viteBuild({ ...vite(), build: { outDir: 'vite', target: 'esnext' } })
    return serveFolder(join(folder, 'vite'))
  },
  async esbuild() {
    const output = outputFolder('esbuild')
    await esbuild({ entryPoints: [entry()], bundle: true, format: 'esm', outfile: join(output, 'page.js') })
    return serveFolder(output)
  },
  async webpack() {
    const output = outputFolder('webpack')
    const options = { context: folder, entry: entry(), mode: 'development', devtool: false } as const
    const stats = await new Promise<webpack.Stats>((resolve, reject) =>
      webpack({ ...options, output: { path: output, filename: 'page.js' } }, (error, made) =>
        error ? reject(error) : resolve(made!),
      ),
    )
    expect(stats.hasErrors() || stats.hasWarnings(), stats.toString('errors-warnings')).toBe(false)
    return serveFolder(output)
  },
}

describe.skipIf(noChromium('bundlers.test.ts'))('a page that trains', () => {
  let browser: Browser
  let expected: Result
  beforeAll(async () => {
    browser = await launchChromium()
    expected = await trainHere()
  })
  afterAll(() => browser?.close())

  test.each(Object.keys(tools))('%s builds it, and it runs', async (name) => {
    const { url, close } = await tools[name]()
    // A context of its own: the private file system begins empty.
    const context = await browser.newContext()
    try {
      const page = await context.newPage()
      const problems: string[] = []
      page.on('pageerror', (error) => problems.push(String(error)))
      page.on('requestfailed', (request) => problems.push(`${request.url()} failed`))
      await page.goto(url)
      // vite dev may load the page again after it has found the dependencies.
      await page.waitForFunction(() => 'result' in window, undefined, { timeout: 100_000 })
      const result = await page.evaluate(() => (window as unknown as { result: Result }).result)
      expect(result.error).toBeUndefined()
      expect(result).toMatchObject({
        stopped: ['signal', 'done'],
        files: ['checkpoints', 'config.yaml', 'metrics.jsonl', 'summary.json'],
        step: 3,
        operands: ['x', 'y'],
        recipe: 8,
      })
      expect(problems).toEqual([])
      compare(result, expected)
    } finally {
      await context.close()
      await close()
    }
  })

  test('the page of the README trains, and is done when it is loaded again', async () => {
    const output = outputFolder('readme')
    const text = readFileSync(join(root, 'test/readme/own_page.ts'), 'utf8')
    const contents = text.replace('../../train/index.js', 'webgpu-ssl/train')
    const stdin = { contents, loader: 'ts', resolveDir: folder } as const
    await esbuild({ stdin, bundle: true, format: 'esm', outfile: join(output, 'page.js') })
    const { url, close } = await serveFolder(output)
    const page = await browser.newPage()
    try {
      await page.goto(url)
      const lines = async (): Promise<string[]> => {
        await page.getByText('"stopped"').waitFor({ timeout: 200_000 })
        return page.locator('pre').allTextContents()
      }
      const first = await lines()
      const summary = first.pop()!
      expect(JSON.parse(summary)).toMatchObject({ stopped: 'done', steps: 16 })
      expect(first).toHaveLength(16)
      const losses = first.map((line) => Number(/^step \d+: loss ([\d.]+)$/.exec(line)?.[1]))
      expect(losses.every((loss) => Number.isFinite(loss) && loss > 0)).toBe(true)
      await page.reload()
      expect(await lines()).toEqual([summary])
    } finally {
      await page.close()
      close()
    }
  }, 300_000)
})

/** The same training on Node, in one piece. */
async function trainHere(): Promise<Result> {
  const gpu = await engine()
  const images = Uint8Array.from({ length: 8 * 12 * 12 * 3 }, (_, i) => (i * 7919) % 251)
  const dataset = fromArrays({ images, height: 12, width: 12, name: 'mine' })
  const network = { data: 'mine', width: 4, views: 2, batch: 4, projectorDim: 8, epochs: 2, steps: 3 }
  const config = resolveConfig({ ...network, augmentation: { size: 8 } })
  const { backbone, losses } = await pretrain({ engine: gpu, dataset, config })
  const features = await extractFeatures(gpu, backbone, dataset, { recipe: config.augmentation, seed: 1 })
  return { losses: [losses], features: Array.from(features) }
}

/** Another adapter rounds in another way. */
function compare(result: Result, expected: Result): void {
  const losses = result.losses.flat()
  expect(result.losses.map((part) => part.length)).not.toContain(0)
  expect(losses).toHaveLength(3)
  expected.losses.flat().forEach((loss, i) => expect(Math.abs(losses[i] / loss - 1)).toBeLessThan(1e-3))
  const scale = Math.max(...expected.features.map(Math.abs))
  expect(result.features).toHaveLength(expected.features.length)
  const worst = Math.max(...expected.features.map((value, i) => Math.abs(value - result.features[i])))
  expect(worst / scale).toBeLessThan(1e-2)
}

test('a bundle of the kernels holds only modules of this package, and no other entry needs Node', async () => {
  const bundle = (name: string) =>
    esbuild({
      stdin: { contents: `export * from 'webgpu-ssl/${name}'`, resolveDir: folder },
      ...{ bundle: true, format: 'esm', platform: 'browser', write: false, metafile: true, logLevel: 'silent' },
    })
  const { metafile } = await bundle('kernels')
  const modules = Object.keys(metafile.inputs).filter((file) => file !== '<stdin>')
  expect(modules.length).toBeGreaterThan(10)
  expect(modules.filter((file) => !file.includes('node_modules/webgpu-ssl/dist/'))).toEqual([])
  for (const name of ['engine', 'models', 'train']) await bundle(name)
})
