/** What `pretrain` prints when it ends: how the run ended, and what to do next. */
import { join } from 'node:path'
import { existsSync } from 'node:fs'
import type { PretrainConfig } from '../config/config.js'
import type { ImageDataset } from '../data/dataset.js'
import { datasetLoader, loadDataset } from '../node/data/index.js'
import { counted, duration, percent } from '../report/text.js'
import type { PretrainResult } from '../run/pretrain.js'
import { rate } from './display.js'

/** A smaller share of waiting is not worth a word. */
const WAITING = 0.05
/** With more training images a probe on a processor is a quick look. */
const MANY_IMAGES = 5000

/** One line on how the run ended. @param limit what ended it: `--steps` or `--epochs` */
export function summaryOf(result: PretrainResult, limit: string, out?: string): string {
  const { stopped, steps, epochs, seconds, losses, imagesPerSecond, waitSeconds, waitShare = 0 } = result
  const length = `${counted(steps, 'step')}, ${counted(epochs, 'epoch')}`
  if (stopped === 'done' && losses.length === 0)
    return `already complete: ${length}; --resume continues it with more ${limit}`
  const ending = { done: 'done', signal: 'stopped by a signal', time: 'stopped at --max-minutes' }[stopped]
  const speed = losses.length > 1 ? ` at ${rate(imagesPerSecond)} images/s` : ''
  const waiting =
    waitShare < WAITING ? '' : `, ${duration(waitSeconds!)} of it waiting for images (${percent(waitShare, 0)})`
  return `${ending}: ${length} in ${duration(seconds)}${speed}${waiting}${out ? `; saved in ${out}` : ''}`
}

/** A word of a command as a shell takes it. */
const quoted = (word: string): string => (/^[\w./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)

/** A command of this project as the user would type it, in the way in which this one was started. */
export function commandLine(name: string, ...words: string[]): string {
  const { npm_lifecycle_event: event, npm_package_name: project } = process.env
  const byScript = project === 'webgpu-ssl' && event !== undefined && event !== 'npx'
  return [byScript ? `npm run ${name} --` : `npx webgpu-ssl ${name}`, ...words.map(quoted)].join(' ')
}

/** Commands that a user may want after a run, which work as they stand. */
export async function nextCommands(
  { stopped }: Pick<PretrainResult, 'stopped'>,
  out: string,
  config: PretrainConfig,
  dataset: ImageDataset,
  { adapter, onProcessor }: { adapter?: string; onProcessor: boolean },
): Promise<string[]> {
  const chosen = adapter === undefined ? [] : ['--adapter', adapter]
  const features = join(out, 'features.safetensors')
  const force = existsSync(features) ? ['--force'] : []
  const quick = onProcessor && dataset.count > MANY_IMAGES ? ['--per-class', '200'] : []
  return [
    ...(stopped === 'done' ? [] : [commandLine('pretrain', '--resume', '--out', out, ...chosen)]),
    commandLine('watch', out),
    ...((await canProbe(config)) ? [commandLine('probe', '--run', out, ...quick, ...chosen)] : []),
    commandLine('embed', '--run', out, '--out', features, ...force, ...chosen),
  ]
}

/** Whether there are labelled images to train a probe on and to test it. Nothing is fetched or decoded for it. */
async function canProbe({ data, dataDir }: PretrainConfig): Promise<boolean> {
  if (dataDir === undefined) return true
  const { labelled } = await datasetLoader(data)
  const found = labelled ? labelled({ dataDir }) : loadDataset(data, 'test', { dataDir }).then(() => true)
  return found.catch(() => false)
}
