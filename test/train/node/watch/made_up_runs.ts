/** Folders of runs that never ran, for the tests of watching. */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { stringify } from 'yaml'
import sharp from 'sharp'

export interface MadeUpRun {
  folder: string
  /** Appends the lines of steps up to `step`. */
  growTo(step: number): void
}

export interface MadeUpOptions {
  config?: Record<string, unknown>
  steps?: number
  /** Multiplies the loss, so that runs differ. */
  scale?: number
}

export const EVERY = 50

export function makeUpRun(folder: string, { config = {}, steps = 1000, scale = 1 }: MadeUpOptions = {}): MadeUpRun {
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, 'config.yaml'),
    stringify({ data: 'cifar10', views: 4, batch: 128, lr: 0.001, epochs: 20, augmentation: { size: 32 }, ...config }),
  )
  let done = 0
  const append = (name: string, line: object): void => appendFileSync(join(folder, name), `${JSON.stringify(line)}\n`)
  return {
    folder,
    growTo(step) {
      const lines: string[] = []
      while (done < step) {
        done++
        lines.push(JSON.stringify(metricsLine(done, steps, scale)))
        if (done % EVERY === 0) {
          append('online.jsonl', { step: done, epoch: done / EVERY, k: 20, top1: 0.6 - 0.4 / Math.sqrt(done / EVERY) })
          append('diagnostics.jsonl', diagnosticsLine(done, scale))
        }
      }
      if (lines.length) appendFileSync(join(folder, 'metrics.jsonl'), `${lines.join('\n')}\n`)
    },
  }
}

export function metricsLine(step: number, steps = 1000, scale = 1): object {
  const noise = 1 + 0.08 * Math.sin(step * 12.9898) * Math.cos(step * 78.233)
  const loss = scale * noise * (20 + 400 / Math.sqrt(step))
  return {
    step,
    steps,
    epoch: Math.floor((step - 1) / EVERY),
    loss,
    parts: { invariance: 0.3 * loss, redundancy: 0.7 * loss },
    lr: 0.001 * Math.min(1, step / 100),
    probeTop1: 0.5 - 0.4 / Math.sqrt(1 + step / 50),
    imagesPerSecond: scale * (150 + 4 * Math.sin(step / 7)),
    seconds: step * 0.8,
    peakBytes: 3 * 2 ** 30,
  }
}

const diagnosticsLine = (step: number, scale: number): object => ({
  step,
  epoch: step / EVERY,
  images: 1024,
  alpha: 1 + scale / Math.sqrt(step / EVERY),
  effectiveRank: 20 + step / 20,
  alignment: 0.4,
  uniformity: -2 - step / 1000,
  eigenvalues: Array.from({ length: 100 }, (_, i) => 3 / (i + 1) ** (1 + scale / Math.sqrt(step / EVERY))),
})

/** Writes views.png, a picture of one colour. */
export async function paintViews(folder: string, background = '#4080c0'): Promise<void> {
  mkdirSync(dirname(join(folder, 'views.png')), { recursive: true })
  await sharp({ create: { width: 320, height: 160, channels: 3, background } })
    .png()
    .toFile(join(folder, 'views.png'))
}
