/** Copies of a run's lines for other programs, which grow with the run: CSV tables and TensorBoard events. */
import { concatenate } from '../../models/protobuf.js'
import { VIEWS_FILE } from '../run/folder.js'
import { lineFiles, readLines } from '../run/metrics.js'
import type { RunStore } from '../run/store.js'
import { csvColumns, csvFits, csvRow, csvTable } from './csv.js'
import { eventFileName, imageRecord, scalarsOf, scalarsRecord, versionRecord } from './tensorboard.js'

export interface ExportOptions {
  /** Writes `metrics.csv` and the like. */
  csv?: boolean
  /** Writes an event file for TensorBoard. */
  tensorboard?: boolean
}

type LineFile = (typeof lineFiles)[number]
type Line = { step: number; seconds?: number }

interface Export {
  /** A line that has just been added to a file. */
  line(file: LineFile, line: Line): Promise<void>
  /** Lines were removed from a file: the next line writes everything again. */
  restart(file: LineFile): void
  /** The newest contact sheet of views, a PNG file. */
  views?(png: Uint8Array): Promise<void>
}

/**
 * The same store, which also writes the copies. The first line of a call writes everything that the run has recorded so
 * far, so a resumed run has whole copies.
 */
export function exportingStore(store: RunStore, { csv, tensorboard }: ExportOptions): RunStore {
  const exports = [...(csv ? [csvExport(store)] : []), ...(tensorboard ? [tensorboardExport(store)] : [])]
  let last: Promise<unknown> = Promise.resolve()
  /** A copy is made from the lines in a file, so lines are added one by one. */
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const next = last.then(work)
    last = next.catch(() => undefined)
    return next
  }
  const restart = (path: string): void => {
    const file = lineFiles.find((name) => name === path)
    if (file !== undefined) for (const each of exports) each.restart(file)
  }
  return {
    ...store,
    remove: (path) =>
      inTurn(async () => {
        await store.remove(path)
        restart(path)
      }),
    append: (path, data) =>
      inTurn(async () => {
        await store.append(path, data)
        const file = lineFiles.find((name) => name === path)
        if (file === undefined || typeof data !== 'string') return
        for (const each of exports) await each.line(file, JSON.parse(data) as Line)
      }),
    write: (path, data) =>
      inTurn(async () => {
        await store.write(path, data)
        restart(path)
        if (path !== VIEWS_FILE || typeof data === 'string') return
        for (const each of exports) await each.views?.(data)
      }),
  }
}

function csvExport(store: RunStore): Export {
  const tables = new Map<LineFile, string[]>()
  return {
    async line(file, line) {
      const path = file.replace(/jsonl$/, 'csv')
      const columns = tables.get(file)
      if (columns && csvFits(columns, line)) return store.append(path, csvRow(columns, line))
      const lines = await readLines(store, file)
      tables.set(file, csvColumns(lines))
      await store.write(path, csvTable(lines))
    },
    restart: (file) => void tables.delete(file),
  }
}

const GROUPS: Record<LineFile, string> = {
  'metrics.jsonl': 'train',
  'online.jsonl': 'online',
  'diagnostics.jsonl': 'diagnostics',
}

const now = (): number => Date.now() / 1000

function tensorboardExport(store: RunStore): Export {
  let path: string | undefined
  let step = 0
  const recordOf = (file: LineFile, line: Line, wallTime: number): Uint8Array =>
    scalarsRecord({ wallTime, step: line.step }, scalarsOf(GROUPS[file], line))

  /** A new file with everything so far takes the place of those of earlier calls. */
  const begin = async (): Promise<string> => {
    const own = eventFileName(0).replace('.0.', '.')
    for (const name of await store.list('')) if (name.replace(/\.\d+\./, '.') === own) await store.remove(name)
    const started = now()
    const records: Uint8Array[] = [versionRecord(started)]
    const metrics = await readLines(store, 'metrics.jsonl')
    const trained = metrics.at(-1)?.seconds ?? 0
    const ages = new Map(metrics.map(({ step, seconds }) => [step, trained - seconds]))
    for (const file of lineFiles)
      for (const line of await readLines(store, file))
        records.push(recordOf(file, line, started - (ages.get(line.step) ?? 0)))
    const name = eventFileName(started)
    await store.write(name, concatenate(records))
    return name
  }
  return {
    async line(file, line) {
      step = line.step
      if (path === undefined) path = await begin()
      else await store.append(path, recordOf(file, line, now()))
    },
    restart: () => void (path = undefined),
    async views(png) {
      path ??= await begin()
      // The width and the height follow the length and the type of a PNG file's first chunk.
      const header = new DataView(png.buffer, png.byteOffset, png.byteLength)
      const size = { width: header.getUint32(16), height: header.getUint32(20) }
      await store.append(path, imageRecord({ wallTime: now(), step }, { tag: 'views', png, ...size }))
    },
  }
}
