/** The page in a real browser. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Locator, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startWatchServer, type WatchServer } from '../../../../train/node/watch/server.js'
import { launchChromium, noChromium } from '../../../support/browser.js'
import { makeUpRun, paintViews, type MadeUpRun } from './made_up_runs.js'

/** The page may be slow on a busy machine. */
const eventually = <T>(value: () => T) => expect.poll(value, { timeout: 20_000 })

describe.skipIf(noChromium('page.test.ts'))('the page of watch', () => {
  let browser: Browser
  let folder: string
  let server: WatchServer
  let page: Page
  let problems: string[]
  let growing: MadeUpRun
  let ended: MadeUpRun

  beforeAll(async () => {
    browser = await launchChromium()
  })
  afterAll(() => browser?.close())

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-page-'))
    ended = makeUpRun(join(folder, 'first'), { config: { views: 4 } })
    ended.growTo(200)
    growing = makeUpRun(join(folder, 'second'), { config: { views: 8, objective: 'vicreg' }, scale: 1.5 })
    growing.growTo(100)
    server = await startWatchServer([folder], { port: 0, interval: 100 })
    page = await browser.newPage({ viewport: { width: 1280, height: 900 }, colorScheme: 'light' })
    problems = []
    page.on('pageerror', (error) => problems.push(String(error)))
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) problems.push(message.text())
    })
    page.on('request', (request) => {
      if (!request.url().startsWith(server.url)) problems.push(`asks for ${request.url()}`)
    })
    await page.goto(server.url)
    await chart('loss').waitFor()
  })
  afterEach(async () => {
    await page.close()
    await server.close()
    rmSync(folder, { recursive: true, force: true })
    expect(problems).toEqual([])
  })

  const chart = (id: string): Locator => page.locator(`[data-chart="${id}"]`)
  const legend = (id: string): Promise<string[]> => chart(id).locator('.legend .name').allTextContents()
  const sentence = (id: string): Promise<string | null> => chart(id).getByRole('img').getAttribute('aria-label')
  const cells = (row: string): Promise<string[]> =>
    page.locator('#latest tbody tr').filter({ hasText: row }).locator('th, td').allTextContents()
  /** Bytes of a picture of the chart: another picture after a change. */
  const picture = (id: string): Promise<string> =>
    chart(id)
      .locator('canvas')
      .evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL())

  test('shows runs, their charts and latest values, and what differs in their configurations', async () => {
    await eventually(() => legend('loss')).toEqual(['first', 'second'])
    for (const id of ['parts.invariance', 'parts.redundancy', 'probeTop1', 'online.top1', 'lr', 'imagesPerSecond'])
      await eventually(() => legend(id)).toEqual(['first', 'second'])
    for (const id of ['peakBytes', 'diagnostics.alpha', 'diagnostics.effectiveRank', 'spectrum'])
      await eventually(() => legend(id)).toEqual(['first', 'second'])
    expect(await sentence('loss')).toMatch(/^Loss by steps\. first: latest [\d.]+ at 200, from .* second: latest/)
    expect(await chart('spectrum').locator('.legend li').allTextContents()).toEqual([
      'firststep 200α 1.5',
      'secondstep 100α 2.061',
    ])
    expect(await cells('first')).toEqual(expect.arrayContaining(['first', 'running', '200 of 1,000', '3 GiB']))
    const rows = await page.locator('#config tbody tr').allTextContents()
    expect(rows).toEqual(['views48', 'objective–vicreg'])
    await page.getByLabel('Show all fields').check()
    await eventually(() => page.locator('#config tbody tr').count()).toBe(7)
    await eventually(() => page.locator('#config mark').count()).toBe(4)
  })

  test('draws earlier spectra too, and says which', async () => {
    await eventually(() => chart('spectrum').locator('.faint').textContent()).toBe(
      'Faint lines are earlier steps: first 50, 100, 150; second 50.',
    )
    await page.getByRole('checkbox', { name: /^first/ }).uncheck()
    await eventually(() => chart('spectrum').locator('.faint').textContent()).toBe('Faint lines are earlier steps: 50.')
  })

  test('says that it loads until it knows the runs', async () => {
    await page.route('**/api/events', () => undefined)
    await page.reload({ waitUntil: 'domcontentloaded' })
    await eventually(() => page.locator('#empty').textContent()).toBe('Loading runs …')
    expect(await page.locator('#empty').isVisible()).toBe(true)
    expect(await page.getByRole('heading', { name: 'Latest values' }).isVisible()).toBe(false)
  })

  test('follows a run without a reload', async () => {
    await eventually(() => cells('second')).toContain('100 of 1,000')
    await chart('loss').locator('canvas').waitFor()
    const before = await picture('loss')
    growing.growTo(150)
    await eventually(() => cells('second')).toContain('150 of 1,000')
    await eventually(() => sentence('loss')).toContain('at 150')
    await eventually(() => picture('loss')).not.toBe(before)
    await paintViews(growing.folder)
    await expect
      .poll(() => page.getByAltText('Latest views of second').evaluate((img) => (img as HTMLImageElement).naturalWidth))
      .toBe(320)
    expect(await page.locator('#news').textContent()).toMatch(/first: running, step 200, loss/)
  })

  test('finds a new run and drops a deleted one', async () => {
    await eventually(() => legend('loss')).toEqual(['first', 'second'])
    makeUpRun(join(folder, 'third')).growTo(10)
    await eventually(() => legend('loss')).toEqual(['first', 'second', 'third'])
    // A picture that is still being loaded when its run is deleted would be an error in the console.
    await eventually(() => page.evaluate(() => [...document.images].every((image) => image.complete))).toBe(true)
    rmSync(ended.folder, { recursive: true })
    await eventually(() => legend('loss')).toEqual(['second', 'third'])
    expect(await page.locator('#runs li').count()).toBe(2)
  })

  test('keeps what was chosen over a reload', async () => {
    await page.getByRole('checkbox', { name: /^first/ }).uncheck()
    await page.getByText('Epochs', { exact: true }).click()
    await page.getByRole('button', { name: 'Loss: logarithmic axis' }).click()
    await page.getByLabel('Range to').fill('1.5')
    await page.getByLabel('Range to').press('Enter')
    await eventually(() => legend('loss')).toEqual(['second'])
    await page.reload()
    await eventually(() => legend('loss')).toEqual(['second'])
    await eventually(() => sentence('loss')).toMatch(/^Loss by epochs\. second: latest [\d.]+ at 1\.5,/)
    expect(await page.getByRole('checkbox', { name: /^first/ }).isChecked()).toBe(false)
    expect(await chart('loss').getByRole('button').getAttribute('aria-pressed')).toBe('true')
    await page.getByRole('button', { name: 'Whole range' }).click()
    await eventually(() => sentence('loss')).toContain('at 2,')
  })

  test('zooms into a range by dragging, and out by a double click', async () => {
    await chart('loss').locator('canvas').waitFor()
    const box = (await chart('loss').locator('.u-over').boundingBox())!
    await page.mouse.move(box.x + box.width * 0.25, box.y + 50)
    await page.mouse.down()
    await page.mouse.move(box.x + box.width * 0.5, box.y + 60, { steps: 5 })
    await page.mouse.up()
    await eventually(() => page.url()).toContain('range=')
    await expect
      .poll(async () => Number(/latest [\d.]+ at ([\d.]+)/.exec((await sentence('loss'))!)![1]))
      .toBeLessThan(115)
    await chart('loss').locator('.u-over').dblclick()
    await eventually(() => page.url()).not.toContain('range=')
    await eventually(() => sentence('loss')).toContain('at 200')
  })

  test('is light or dark as the system or the user wishes, also after a reload', async () => {
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    await chart('loss').locator('canvas').waitFor()
    const light = await background()
    const drawn = await picture('loss')
    await page.emulateMedia({ colorScheme: 'dark' })
    await eventually(background).not.toBe(light)
    await eventually(() => picture('loss')).not.toBe(drawn)
    await page.getByLabel('Theme').selectOption('light')
    await eventually(background).toBe(light)
    await page.emulateMedia({ colorScheme: 'light' })
    await page.getByLabel('Theme').selectOption('dark')
    await eventually(background).not.toBe(light)
    await page.reload()
    await eventually(background).not.toBe(light)
  })

  test('goes on after the server was away', async () => {
    const { port } = new URL(server.url)
    await server.close()
    await eventually(() => page.locator('#connection').textContent()).toContain('Not connected')
    growing.growTo(170)
    server = await startWatchServer([folder], { port: Number(port), interval: 100 })
    await eventually(() => page.locator('#connection').textContent()).toBe('Live')
    await eventually(() => sentence('loss')).toContain('at 170')
    // The browser reports the connections that failed meanwhile.
    problems = problems.filter((text) => !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING/.test(text))
  })

  test('is used with the keyboard and read aloud', async () => {
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the charts')
    const first = page.getByRole('checkbox', { name: /^first/ })
    await first.focus()
    await page.keyboard.press('Space')
    await eventually(() => legend('loss')).toEqual(['second'])
    await page.keyboard.press('Space')
    const table = chart('loss').locator('details')
    await table.locator('summary').focus()
    await page.keyboard.press('Enter')
    await eventually(() => table.getByRole('columnheader').allTextContents()).toEqual(['steps', 'first', 'second'])
    await eventually(() => table.getByRole('row').count()).toBe(13)
    // Everything that takes input has a name.
    const nameless = await page.evaluate(() =>
      Array.from(document.querySelectorAll('input, select, button, img, progress'))
        .filter(
          (e) =>
            !e.getAttribute('aria-label') &&
            !e.getAttribute('alt') &&
            !e.textContent?.trim() &&
            !(e as HTMLInputElement).labels?.length,
        )
        .map((e) => e.outerHTML),
    )
    expect(nameless).toEqual([])
    expect(await page.locator('#news').getAttribute('aria-live')).toBe('polite')
  })

  test.each([1000, 1280])('shows all latest values in a window of %i pixels', async (width) => {
    await page.setViewportSize({ width, height: 800 })
    await eventually(() => cells('first')).toContain('3 GiB')
    const cut = await page.locator('#latest').evaluate((table) => table.scrollWidth > table.parentElement!.clientWidth)
    expect(cut).toBe(false)
  })

  test.each([400, 1280])('fits a window of %i pixels', async (width) => {
    await page.setViewportSize({ width, height: 800 })
    await eventually(() => page.evaluate(() => document.documentElement.scrollWidth)).toBe(width)
  })
})
