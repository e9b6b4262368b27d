/** The page of `npm run web` in a real browser, on SwiftShader. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { InferenceSession, Tensor } from 'onnxruntime-web'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import sharp from 'sharp'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { input, Purpose, RandomStream } from '../../../engine/index.js'
import { decodeSafetensors, importStateDict, resnet, toFloat32 } from '../../../models/index.js'
import { recipes } from '../../../train/augment/recipe.js'
import { encodeRecords } from '../../../train/data/cifar_records.js'
import { buildPage } from '../../../train/node/web/files.js'
import { startWebServer } from '../../../train/node/web/server.js'
import { chromiumPath, launchChromium, noChromium, serveFolder } from '../../support/browser.js'
import { expectClose } from '../../support/check.js'
import { engine } from '../../support/engine.js'
import { formulaTensor } from '../../support/formula.js'

const COUNT = 64
const [WIDTH, SIZE] = [4, 16]
/** Steps that are compared with Node. */
const STEPS = 20

/** Images with their own colours, slopes and stripes, and a label of three. */
function writeImages(folder: string): void {
  const stream = new RandomStream(5, Purpose.subset)
  const images = new Uint8Array(COUNT * 3072)
  for (let n = 0; n < COUNT; n++) {
    const colour = [0, 1, 2].map(() => 40 + stream.integer(150))
    const [across, down, stripes] = [stream.uniform(-2, 2), stream.uniform(-2, 2), 2 + stream.integer(8)]
    for (let y = 0; y < 32; y++)
      for (let x = 0; x < 32; x++)
        for (let c = 0; c < 3; c++)
          images[3072 * n + 96 * y + 3 * x + c] =
            colour[c] + across * (x - 16) + down * (y - 16) + (x % stripes === 0 ? 25 : 0)
  }
  const labels = Array.from({ length: COUNT }, (_, n) => n % 3)
  writeFileSync(join(folder, 'data_batch_1.bin'), encodeRecords(images, labels))
}

/** Runs a command as npm does. */
const command = (name: string, args: string[], env: NodeJS.ProcessEnv = {}) =>
  promisify(execFile)(process.execPath, ['engine/node/webgpu_ssl.mjs', name, ...args], {
    env: { ...process.env, ...env },
  })

/** The browser may be slow on a busy machine. */
const eventually = <T>(value: () => T) => expect.poll(value, { timeout: 120_000, interval: 100 })

const stepOf = async (page: Page): Promise<number> =>
  Number((await page.locator('#figure-step').textContent())!.split(' ')[0])

/** Waits for a step, as long as there are new ones. */
async function untilStep(page: Page, wanted: number): Promise<void> {
  for (let step = (await stepOf(page)) || 0; step < wanted; step = await stepOf(page))
    await eventually(() => stepOf(page)).toBeGreaterThan(step)
}

/** A file of the only run in the page's private file system. */
const runFile = (page: Page, name: string): Promise<string> =>
  page.evaluate(async (file) => {
    const root = await navigator.storage.getDirectory()
    const runs = await root.getDirectoryHandle('runs')
    const names: string[] = []
    for await (const run of runs.keys()) names.push(run)
    if (names.length !== 1) throw new Error(`runs: ${names.join()}`)
    const handle = await (await runs.getDirectoryHandle(names[0])).getFileHandle(file)
    return (await handle.getFile()).text()
  }, name)

const lossesIn = (lines: string): number[] =>
  lines
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { loss: number }).loss)

async function download(page: Page, format: string, folder: string): Promise<{ path: string; name: string }> {
  const [file] = await Promise.all([page.waitForEvent('download'), page.click(`[data-format="${format}"]`)])
  const path = join(folder, `network.${format}`)
  await file.saveAs(path)
  return { path, name: file.suggestedFilename() }
}

describe.skipIf(noChromium('page.test.ts'))('the page of web', () => {
  let browser: Browser
  let context: BrowserContext
  let page: Page
  let folder: string
  let problems: string[]

  beforeAll(async () => {
    browser = await launchChromium()
    folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-web-'))
    writeImages(folder)
  })
  afterAll(async () => {
    await browser?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  beforeEach(async () => {
    context = await browser.newContext({ viewport: { width: 1280, height: 900 } })
    page = await context.newPage()
    problems = []
    page.on('pageerror', (error) => problems.push(String(error)))
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) problems.push(message.text())
    })
  })
  afterEach(async () => {
    await context.close()
    expect(problems).toEqual([])
  })

  /** All that the page loads has then arrived, so that its server may end. */
  const ready = (): Promise<void> => page.locator('#sample:enabled').waitFor({ timeout: 60_000 })
  const open = async (url: string): Promise<void> => {
    await page.goto(url)
    await ready()
  }
  const slide = (name: string, value: number) =>
    page.locator(`#slider-${name}`).evaluate((slider, to) => {
      ;(slider as HTMLInputElement).value = String(to)
      slider.dispatchEvent(new Event('input', { bubbles: true }))
    }, value)
  const sheet = (): Promise<string[]> =>
    page.locator('#sheet canvas').evaluateAll((all) => all.map((one) => (one as HTMLCanvasElement).toDataURL()))

  test('trains, pauses, goes on after a reload with the losses of Node, and gives its network', async () => {
    const server = await startWebServer({ port: 0, dataDir: folder })
    try {
      await open(server.url)
      expect(await page.locator('#adapter').textContent()).toMatch(/swiftshader/i)
      await page.click('#sample')
      await eventually(() => page.locator('#pictures-status').textContent()).toContain(
        `${COUNT} pictures of 32 × 32 pixels`,
      )
      await eventually(() => page.locator('#sheet canvas').count()).toBe(6 * 5)
      const before = await sheet()
      await slide('greyscale', 1)
      await eventually(async () => (await sheet()).slice(1).join() !== before.slice(1).join()).toBe(true)
      // The pictures themselves stay.
      expect((await sheet())[0]).toBe(before[0])
      await slide('greyscale', 0.2)
      await slide('views', 2)
      await eventually(() => page.locator('#sheet canvas').count()).toBe(6 * 3)

      await page.getByText('More choices').click()
      for (const [id, value] of Object.entries({ dim: 32, width: WIDTH, size: SIZE, steps: 100, optimizer: 'sgd' }))
        await page.selectOption(`#${id}`, String(value))
      for (const [id, value] of Object.entries({ batch: 32, lr: 0.0005, seed: 7 }))
        await page.fill(`#${id}`, `${value}`)
      const button = page.locator('#train')
      await button.click()
      await untilStep(page, 3)
      await button.click()
      await eventually(() => button.textContent()).toBe('Continue')
      const paused = await stepOf(page)
      expect(paused).toBeLessThan(STEPS)

      await page.reload()
      await page.locator('.open').click()
      await eventually(() => button.textContent()).toBe('Continue')
      expect(await stepOf(page)).toBe(paused)
      await eventually(() => page.locator('#matrix-now-text').textContent()).toMatch(/diagonal -?\d\.\d\d, others/)
      await button.click()
      await untilStep(page, STEPS)
      // The page answers while the worker trains.
      expect(await page.evaluate(() => 1 + 1)).toBe(2)
      await button.click()
      await eventually(() => button.textContent()).toBe('Continue')
      // The last reading follows.
      const after = `, after ${await stepOf(page)} steps`
      await eventually(() => page.locator('.after').first().textContent()).toBe(after)
      await compareWithNode(await runFile(page, 'config.yaml'), lossesIn(await runFile(page, 'metrics.jsonl')))
      await checkNetwork()
    } finally {
      await server.close()
    }
  }, 900_000)

  /** The same configuration on Node, in one piece and on the same driver. */
  async function compareWithNode(config: string, losses: number[]): Promise<void> {
    const file = join(folder, 'page.yaml')
    writeFileSync(file, config)
    const args = ['--config', file, '--data-dir', folder, '--steps', String(STEPS), '--no-tune']
    await command('pretrain', [...args, '--out', join(folder, 'run')], { WEBGPU_SSL_ADAPTER: 'swiftshader' })
    const expected = lossesIn(readFileSync(join(folder, 'run', 'metrics.jsonl'), 'utf8'))
    expect(expected).toHaveLength(STEPS)
    expect(Math.abs(losses[0] / expected[0] - 1)).toBeLessThan(1e-5)
    expected.forEach((loss, i) => expect(Math.abs(losses[i] / loss - 1), `step ${i + 1}`).toBeLessThan(1e-3))
    // The steps change something.
    expect(Math.abs(expected[STEPS - 1] / expected[0] - 1)).toBeGreaterThan(0.05)
  }

  /** The downloads agree with each other, and the neighbours with the features that the command line computes. */
  async function checkNetwork(): Promise<void> {
    const weights = await download(page, 'safetensors', folder)
    expect(weights.name).toMatch(/^barlow-twins-resnet18-width-4-step-\d+\.safetensors$/)
    const model = await download(page, 'onnx', folder)
    const { tensors, metadata } = decodeSafetensors(readFileSync(weights.path), weights.name)
    expect(metadata).toMatchObject({ arch: 'resnet18', width: '4', imageSize: '16' })

    const gpu = await engine()
    const backbone = resnet({ arch: 'resnet18', width: WIDTH })
    importStateDict(gpu, backbone.dict, tensors, weights.name)
    const pixels = formulaTensor('page/pixels', [2, SIZE, SIZE, 3]).map((v) => 0.5 + v / 4)
    const [nchw, nhwc] = [new Float32Array(2 * 3 * SIZE ** 2), new Float32Array(2 * 4 * SIZE ** 2)]
    const { mean, std } = recipes.cifar
    pixels.forEach((value, i) => {
      const [n, p, c] = [Math.floor(i / (3 * SIZE ** 2)), Math.floor(i / 3) % SIZE ** 2, i % 3]
      nchw[(n * 3 + c) * SIZE ** 2 + p] = value
      nhwc[(n * SIZE ** 2 + p) * 4 + c] = (value - mean[c]) / std[c]
    })
    const images = input('images', [2, SIZE, SIZE, 4])
    const program = await gpu.compile({ label: 'eval', outputs: { y: backbone.forward(images, { training: false }) } })
    await program.run({ images: nhwc })
    const session = await InferenceSession.create(readFileSync(model.path), { executionProviders: ['wasm'] })
    const found = await session.run({ images: new Tensor('float32', nchw, [2, 3, SIZE, SIZE]) })
    expectClose('onnx', found.features.data as Float32Array, await program.read('y'), 1e-4)
    expect(found.embeddings.dims).toEqual([2, 32])
    program.destroy()
    await session.release()
    await checkNeighbours(weights.path)
  }

  async function checkNeighbours(weights: string): Promise<void> {
    const out = join(folder, 'features.safetensors')
    const data = ['--data', 'cifar10', '--data-dir', folder, '--split', 'train']
    await command('embed', ['--weights', weights, ...data, '--out', out])
    const { features } = decodeSafetensors(readFileSync(out), out).tensors
    const rows = toFloat32(features)
    const row = (i: number): Float32Array => rows.subarray(i * 8 * WIDTH, (i + 1) * 8 * WIDTH)
    const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, i) => sum + value * b[i], 0)
    const cosine = (a: number, b: number): number =>
      dot(row(a), row(b)) / Math.sqrt(dot(row(a), row(a)) * dot(row(b), row(b)))

    await page.locator('#gallery button').nth(10).click()
    const nearest = page.locator('#nearest-now li')
    expect(await nearest.count()).toBe(8)
    const indices = await nearest.evaluateAll((all) => all.map((one) => Number((one as HTMLElement).dataset.index)))
    const shown = indices.map((i) => cosine(10, i))
    const others = Array.from({ length: COUNT }, (_, i) => i).filter((i) => i !== 10)
    const expected = others.map((i) => cosine(10, i)).sort((a, b) => b - a)
    shown.forEach((similarity, i) => expect(Math.abs(similarity - expected[i])).toBeLessThan(1e-3))
    expect(new Set(indices).size).toBe(8)
    expect(await page.locator('#nearest-untrained li').count()).toBe(8)
    expect(await page.locator('#agreement').textContent()).toMatch(/for \d+ % of the pictures when untrained; after/)
  }

  test('a static page has the same images, and takes pictures of a folder', async () => {
    const out = join(folder, 'static')
    expect(await buildPage(out, folder)).toBe(COUNT)
    const server = await serveFolder(out)
    try {
      await open(server.url)
      await page.click('#sample')
      await eventually(() => page.locator('#pictures-status').textContent()).toContain(
        `${COUNT} pictures of 32 × 32 pixels`,
      )
      await page.locator('#sheet canvas').first().waitFor()
      // PNG keeps every byte.
      const drawn = await page
        .locator('#sheet canvas')
        .first()
        .evaluate((canvas) => {
          const { data } = (canvas as HTMLCanvasElement).getContext('2d')!.getImageData(0, 0, 32, 32)
          return Array.from(data)
        })
      const record = readFileSync(join(folder, 'data_batch_1.bin'))
      const pixel = (i: number): number[] => [1, 1025, 2049].map((plane) => record[plane + i])
      for (const i of [0, 37, 1023]) expect(drawn.slice(4 * i, 4 * i + 3)).toEqual(pixel(i))

      await page.setInputFiles('#folder', await pictures(join(folder, 'pictures')))
      await eventually(() => page.locator('#pictures-status').textContent()).toBe(
        'Your pictures: 6 pictures of 36 × 36 pixels. 1 file could not be read as a picture.',
      )
      expect(await page.locator('#gallery button').count()).toBe(6)
    } finally {
      server.close()
    }
  })

  /** Three red and three blue pictures in folders, and a file that is no picture. */
  async function pictures(at: string): Promise<string> {
    for (const [name, background] of [
      ['red', '#d01020'],
      ['blue', '#1020d0'],
    ]) {
      mkdirSync(join(at, name), { recursive: true })
      for (let i = 0; i < 3; i++)
        await sharp({ create: { width: 50 + i, height: 41, channels: 3, background } })
          .png()
          .toFile(join(at, name, `${i}.png`))
    }
    writeFileSync(join(at, 'red', 'notes.txt'), 'no picture')
    return at
  }

  test.each([390, 1280])('at %i pixels it fits, is named and follows the theme', async (width) => {
    await page.setViewportSize({ width, height: 800 })
    const server = await startWebServer({ port: 0, dataDir: folder })
    try {
      await open(server.url)
      await page.keyboard.press('Tab')
      expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the pictures')
      await page.locator('#sample').focus()
      await page.keyboard.press('Enter')
      await page.locator('#sheet canvas').first().waitFor()
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width)
      const nameless = await page.evaluate(() =>
        [...document.querySelectorAll<HTMLInputElement>('input, select, button, progress, [role=img], canvas[role]')]
          .filter((e) => !e.getAttribute('aria-label') && !e.textContent?.trim() && !e.labels?.length)
          .map((e) => e.outerHTML),
      )
      expect(nameless).toEqual([])
      const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
      const light = await background()
      await page.getByLabel('Theme').selectOption('dark')
      expect(await background()).not.toBe(light)
      await page.reload()
      await ready()
      expect(await background()).not.toBe(light)
    } finally {
      await server.close()
    }
  })

  test('without WebGPU it says what to do', async () => {
    const server = await startWebServer({ port: 0, dataDir: folder })
    const plain = await chromium.launch({
      executablePath: chromiumPath,
      args: ['--no-sandbox', '--disable-blink-features=WebGPU'],
    })
    try {
      const without = await plain.newPage()
      await without.goto(server.url)
      await without.locator('#help').waitFor()
      expect(await without.locator('#help-list li').allTextContents()).toContainEqual(
        expect.stringMatching(/Safari 26/),
      )
      expect(await without.locator('#pictures').isVisible()).toBe(false)
    } finally {
      await plain.close()
      await server.close()
    }
  })
})
