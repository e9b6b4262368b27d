/**
 * Readings of finished runs in one file, which can be committed: another machine takes them from there and makes only the
 * runs that are missing. Each line is one JSON object: a run, the times of a seed, or other figures. Lines are only
 * added.
 */
import { existsSync } from 'node:fs'
import { appendFile, mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import { canonicalJson } from '../../train/config/canonical_json.js'
import { resolveConfig, type PretrainConfig } from '../../train/config/config.js'
import { ConfigError } from '../../train/config/config_error.js'
import { validated } from '../../train/run/validated.js'
import { reading, type Reading } from './cached.js'

const options = z.record(z.string(), z.unknown())

const runLine = z.object({
  kind: z.literal('run'),
  /** All options of the run that its outcome depends on. */
  config: options,
  /** Name of the readout. */
  readout: z.string(),
  /** Whether every checkpoint was read, and not only the last one. */
  curve: z.boolean(),
  readings: z.array(reading),
  /** Why the run diverged; it then has no readings. */
  error: z.string().optional(),
})

const timesLine = z.object({
  kind: z.literal('times'),
  seed: z.int(),
  adapter: z.string(),
  cpu: z.string(),
  /** Median seconds of a training step of each configuration; all of them were measured in turn. */
  steps: z.array(z.object({ config: options, seconds: z.number().positive() })).min(1),
})

const figuresLine = z.object({
  kind: z.literal('figures'),
  /** What the figures are of, in every respect that they depend on. */
  of: options,
  figures: z.array(z.number()),
})

const line = z.discriminatedUnion('kind', [runLine, timesLine, figuresLine])

type RunLine = z.infer<typeof runLine>
type FiguresLine = z.infer<typeof figuresLine>
type Line = z.infer<typeof line>
export type SeedTimes = z.infer<typeof timesLine>

/** What identifies a run and its readings. */
export interface KeptRequest {
  config: PretrainConfig
  /** Name of the readout. */
  readout: string
  curve: boolean
}

/** Options that do not change the outcome of a run. */
export const WITHOUT_EFFECT: ReadonlySet<string> = new Set(['dataDir', 'stream', 'checkpointMinutes'])

/** The options that the outcome of a run depends on. */
export const outcomeOptions = (config: PretrainConfig): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(config).filter(([name, value]) => !WITHOUT_EFFECT.has(name) && value !== undefined),
  )

/** Options and options of options by path, `augmentation.jitter.hue`. Lists are values. */
function leavesOf(value: Record<string, unknown>, prefix = ''): [path: string, value: string][] {
  return Object.entries(value).flatMap(([name, inner]): [string, string][] =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? leavesOf(inner as Record<string, unknown>, `${prefix}${name}.`)
      : [[prefix + name, canonicalJson(inner)]],
  )
}

/**
 * Whether a recorded configuration is the one that is wanted. An option that did not exist when the run was recorded must
 * have its default now.
 */
export function sameOutcome(recorded: Record<string, unknown>, wanted: PretrainConfig): boolean {
  const old = new Map(leavesOf(recorded))
  const asked = new Map(leavesOf(outcomeOptions(wanted)))
  if ([...old].some(([path, value]) => asked.get(path) !== value)) return false
  const added = [...asked].filter(([path]) => !old.has(path))
  if (added.length === 0) return true
  const { data, objective, views } = wanted
  const defaults = new Map(leavesOf(outcomeOptions(resolveConfig({ data, objective, views }))))
  return added.every(([path, value]) => defaults.get(path) === value)
}

export class KeptReadings {
  private constructor(
    private readonly file: string,
    private readonly runs: RunLine[],
    private readonly times: SeedTimes[],
    private readonly others: FiguresLine[],
  ) {}

  /**
   * Opens the file; a file that does not exist is empty.
   *
   * @throws ConfigError that names the line that is not as it should be
   */
  static async open(file: string): Promise<KeptReadings> {
    const kept = new KeptReadings(file, [], [], [])
    if (!existsSync(file)) return kept
    const lines = (await readFile(file, 'utf8')).split('\n')
    for (const [i, text] of lines.entries()) if (text.trim()) kept.take(parsed(text, `${file}, line ${i + 1}`))
    return kept
  }

  /** The readings of a run, in the order of their steps, or why it diverged; undefined if the file has neither. */
  run({ config, readout, curve }: KeptRequest): { readings: Reading[] } | { error: string } | undefined {
    const found = this.runs.find(
      (one) => one.readout === readout && (one.curve || !curve) && sameOutcome(one.config, config),
    )
    if (!found) return undefined
    if (found.error !== undefined) return { error: found.error }
    return { readings: curve ? found.readings : found.readings.slice(-1) }
  }

  /** Every run that did not diverge, with its last reading. */
  finished(): { config: Record<string, unknown>; reading: Reading }[] {
    return this.runs.flatMap(({ config, readings }) => {
      const reading = readings.at(-1)
      return reading ? [{ config, reading }] : []
    })
  }

  /** Adds a run, unless the file has it. */
  async addRun(request: KeptRequest, result: { readings: Reading[] } | { error: string }): Promise<void> {
    if (this.run(request)) return
    const { config, readout, curve } = request
    const outcome = 'error' in result ? { readings: [], error: result.error } : { readings: result.readings }
    await this.add({ kind: 'run', config: outcomeOptions(config), readout, curve, ...outcome })
  }

  /** The times of a seed's configurations, if one line has all of them. */
  stepSeconds(seed: number, configs: readonly PretrainConfig[]): number[] | undefined {
    for (const { steps } of this.times.filter((one) => one.seed === seed)) {
      const found = configs.map((config) => steps.find((one) => sameOutcome(one.config, config))?.seconds)
      if (found.every((seconds) => seconds !== undefined)) return found
    }
    return undefined
  }

  addTimes(times: SeedTimes): Promise<void> {
    return this.add(times)
  }

  /** Figures that are no readings of a run; undefined if the file does not have them. */
  figures(of: Record<string, unknown>): number[] | undefined {
    const wanted = canonicalJson(of)
    return this.others.find((one) => canonicalJson(one.of) === wanted)?.figures
  }

  addFigures(of: Record<string, unknown>, figures: number[]): Promise<void> {
    return this.add({ kind: 'figures', of, figures })
  }

  private take(one: Line): void {
    if (one.kind === 'run') this.runs.push(one)
    else if (one.kind === 'times') this.times.push(one)
    else this.others.push(one)
  }

  private async add(one: Line): Promise<void> {
    await mkdir(dirname(this.file), { recursive: true })
    await appendFile(this.file, `${JSON.stringify(one)}\n`)
    this.take(one)
  }
}

function parsed(text: string, where: string): Line {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new ConfigError(`${where}: is not JSON: remove the line, and its run is made again`)
  }
  return validated(line, value, where)
}
