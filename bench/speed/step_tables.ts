/** Tables of the step benchmark, in Markdown. */
import { markdownTable } from '../../train/report/text.js'
import { figure, mebibytes, medianText } from '../report/text.js'
import type { StepResult } from './step.js'
import type { ChunkResult } from './view_chunks.js'

/** All tables. `refused` are the steps that could not be measured. */
export function stepMarkdown(
  results: readonly StepResult[],
  chunks: readonly ChunkResult[],
  refused: readonly { name: string; reason: string }[],
): string {
  return [
    '## Pretraining steps',
    'Device ms is the sum over the dispatches, each measured in a pass of its own. Host ms is the time to encode ' +
      'and submit a step while the device is idle, with its share of the step. Thread ms is the processor time of the ' +
      'JavaScript thread, with its share; it includes polling for completion. Bytes per view are the bytes that the dispatches bind, each counted once.',
    stepTable(results),
    ...(chunks.length ? ['### All views at once and in chunks, batch-norm per view', chunkTable(chunks)] : []),
    ...refused.map(({ name, reason }) => `Not measured: ${name}: ${reason}`),
    ...results.flatMap((r) => [`### ${r.name}: time by kernel`, kernelTable(r)]),
  ].join('\n\n')
}

function stepTable(results: readonly StepResult[]): string {
  const header = [
    'step',
    'ms [quartiles]',
    'images/s',
    'views/s',
    'device ms',
    'host ms',
    'thread ms',
    'peak memory',
    'dispatches',
    'bytes per view',
    'first step, s, cold / warm',
    'pipelines',
  ]
  const withShare = (milliseconds: number | undefined, { seconds }: StepResult): string =>
    milliseconds === undefined
      ? ''
      : `${figure(milliseconds)} (${((milliseconds / seconds.median) * 0.1).toFixed(1)} %)`
  const rows = results.map((r) => [
    r.name,
    medianText(r.seconds, 1000),
    figure(r.imagesPerSecond),
    figure(r.viewsPerSecond),
    figure(r.deviceMilliseconds),
    withShare(r.hostMilliseconds.median, r),
    withShare(r.threadMilliseconds, r),
    mebibytes(r.peakBytes),
    String(r.dispatches),
    mebibytes(r.bytesPerView),
    r.firstStep ? `${figure(r.firstStep.cold)} / ${figure(r.firstStep.warm)}` : '',
    r.firstStep ? String(r.firstStep.pipelines) : '',
  ])
  return markdownTable(header, rows)
}

const chunkTable = (chunks: readonly ChunkResult[]): string =>
  markdownTable(
    ['step', 'views in memory', 'ms [quartiles]', 'memory without the network'],
    chunks.map(({ name, chunk, seconds, peakBytes }) => [
      name,
      String(chunk),
      medianText(seconds, 1000),
      mebibytes(peakBytes),
    ]),
  )

const kernelTable = ({ kernels, deviceMilliseconds }: StepResult): string =>
  markdownTable(
    ['kernel', 'ms', 'share', 'dispatches', 'GB/s'],
    kernels.map(({ kernel, milliseconds, dispatches, bytes }) => [
      kernel,
      figure(milliseconds),
      `${((100 * milliseconds) / deviceMilliseconds).toFixed(1)} %`,
      String(dispatches),
      figure(bytes / milliseconds / 1e6),
    ]),
  )
