/** Figures that runs keep in their folders: the readout of a checkpoint, and the error of a run that diverged. */
import { existsSync } from 'node:fs'
import { z } from 'zod'
import { readJson, writeAtomically } from '../../train/node/files.js'
import { validated } from '../../train/run/validated.js'

const count = z.int().min(0)
const share = z.number().min(0).max(1)

/** The form of a reading in a file. */
export const reading = z.object({
  step: count,
  epoch: count,
  /** Training time until the checkpoint, without compilation and readouts. */
  seconds: z.number().min(0),
  /** The adapter that trained it; `A, then B` if the run was resumed on another adapter. */
  adapter: z.string().optional(),
  /** Views averaged per image. */
  views: z.int().min(1),
  top1: share,
  top5: share,
  knn20: share.optional(),
  testCount: count,
  // Of the last checkpoint: measures without labels, of the features of 1,024 training images.
  /** Exponent of the eigenspectrum. */
  alpha: z.number().optional(),
  effectiveRank: z.number().optional(),
  rankMe: z.number().optional(),
  lidar: z.number().optional(),
})

/** The readout of a checkpoint; accuracies are from 0 to 1. */
export type Reading = z.infer<typeof reading>

const failure = z.object({ error: z.string().min(1) })

/** The error of a run that diverged, in one line. */
export type Failure = z.infer<typeof failure>

/** Reads the cached figures of runs. A damaged file counts as missing, so that its figures are made again. */
export class CachedFigures {
  private readonly reported = new Set<string>()

  /** @param onMessage told once of each damaged file, in one line that names it */
  constructor(private readonly onMessage: (line: string) => void = () => undefined) {}

  /** @param step of the checkpoint that the file belongs to @returns undefined if the file is missing or damaged */
  reading(file: string, step: number): Promise<Reading | undefined> {
    const own = reading.refine((one) => one.step === step, { path: ['step'], error: `must be ${step}` })
    return this.read(file, own, 'the checkpoint is read out again')
  }

  /** @returns undefined if the file is missing or damaged */
  failure(file: string): Promise<Failure | undefined> {
    return this.read(file, failure, 'the run is made again')
  }

  private async read<T>(file: string, schema: z.ZodType<T>, remedy: string): Promise<T | undefined> {
    if (!existsSync(file)) return undefined
    try {
      return validated(schema, await readJson(file), file)
    } catch (error) {
      return this.report(error as Error, remedy)
    }
  }

  /** Reports, once, what is wrong with a file of a run. */
  report({ message }: Error, remedy = 'the run is resumed'): undefined {
    if (!this.reported.has(message)) this.onMessage(`${message}: ${remedy}`)
    this.reported.add(message)
  }
}

export const writeFigures = (file: string, figures: Reading | Failure): Promise<void> =>
  writeAtomically(file, `${JSON.stringify(figures)}\n`)
