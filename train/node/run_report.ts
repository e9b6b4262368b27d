/** What `pretrain` leaves in a run's folder for a reader: `views.png` and `report.html`. */
import { basename, resolve } from 'node:path'
import type { Engine } from '../../engine/index.js'
import type { PretrainConfig } from '../config/config.js'
import type { ImageDataset } from '../data/dataset.js'
import { firstAcrossClasses } from '../data/subset.js'
import { runReport } from '../report/run_report.js'
import { readConfig, readSummary, REPORT_FILE, VIEWS_FILE } from '../run/folder.js'
import { readLines } from '../run/metrics.js'
import type { RunStore } from '../run/store.js'
import { viewDrawer, type ViewDrawer } from '../augment/pictures.js'
import { contactSheet } from './contact_sheet.js'
import { checkHoldsRun, runFolder } from './run_folder.js'

const IMAGES = 6
const MOST_VIEWS = 8
/** Approximate side of an enlarged picture, in pixels. */
const TILE = 96

/** Writes the contact sheet of the views that a run draws in an epoch. */
export class ViewsWriter {
  private recorded: { device: GPUDevice; drawer: ViewDrawer } | undefined

  constructor(
    private readonly engine: Engine,
    private readonly dataset: ImageDataset,
    private readonly config: PretrainConfig,
  ) {}

  async write(store: RunStore, epoch: number): Promise<void> {
    const { size } = this.config.augmentation
    const rows = await (await this.drawer()).draw(epoch)
    const tile = Math.max(1, Math.round(TILE / size)) * size
    await store.write(VIEWS_FILE, await contactSheet(rows, { tile, afterFirst: 16 }))
  }

  /** Recorded once, and again after the device was lost. */
  private async drawer(): Promise<ViewDrawer> {
    const { engine, dataset, config } = this
    const { augmentation: recipe, views, seed } = config
    if (this.recorded?.device !== engine.device) {
      // With crops of several sizes the number of views is part of the recipe.
      const shown = recipe.crops ? views : Math.min(views, MOST_VIEWS)
      const images = firstAcrossClasses(dataset, IMAGES)
      const drawer = await viewDrawer(engine, dataset, { recipe, views: shown, images, seed })
      this.recorded = { device: engine.device, drawer }
    }
    return this.recorded.drawer
  }
}

/**
 * Writes the report of a run from the files in its folder. It may be written at any time, and again.
 *
 * @returns the path of the report
 * @throws ConfigError in one line if the folder holds no run
 */
export async function writeRunReport(folder: string): Promise<string> {
  checkHoldsRun(folder)
  const store = runFolder(folder)
  const report = await runReport({
    name: basename(resolve(folder)),
    config: await readConfig(store),
    metrics: await readLines(store, 'metrics.jsonl'),
    online: await readLines(store, 'online.jsonl'),
    diagnostics: await readLines(store, 'diagnostics.jsonl'),
    summary: await readSummary(store),
    views: await store.readBytes(VIEWS_FILE),
  })
  await store.write(REPORT_FILE, report)
  return store.nameOf(REPORT_FILE)
}
