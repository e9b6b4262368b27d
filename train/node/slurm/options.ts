/** What a user asks of Slurm for a job. */
import { z } from 'zod'
import { ConfigError } from '../../config/config_error.js'
import { requirement } from '../../config/messages.js'
import { readYaml } from '../read_yaml.js'

/** Options of sbatch, and what the job does first. */
export interface SlurmOptions {
  /** Long options of sbatch with their values; true for an option without a value. */
  readonly sbatch: Readonly<Record<string, string | true>>
  /** Lines of bash that prepare the environment, for example `module load nodejs`. */
  readonly setup: readonly string[]
}

/** Options that a job needs as they are. */
const RESERVED = [
  'array',
  'error',
  'nodes',
  'ntasks-per-node',
  'open-mode',
  'output',
  'requeue',
  'no-requeue',
  'signal',
]

const value = z.union([z.string(), z.number(), z.literal(true)])
const schema = z.record(z.string(), z.union([value, z.array(z.string())]))

/** A value as it stands in an `#SBATCH` line. */
function checked(name: string, text: string): string {
  if (!/^[a-z][a-z-]*$/.test(name))
    throw new ConfigError(`Slurm option '${name}': is not the name of an option of sbatch`)
  if (RESERVED.includes(name)) throw new ConfigError(`Slurm option '${name}': is chosen by this command`)
  // sbatch reads these lines like a shell, so that quotes and backslashes would change them.
  if (text === '' || /[\n\r"'\\#]/.test(text))
    throw new ConfigError(
      `Slurm option '${name}': ${JSON.stringify(text)} is not a value that sbatch takes on one line`,
    )
  return text
}

/**
 * Reads a YAML file of Slurm options: long options of sbatch by name, and `setup` with one or more lines of bash.
 *
 * @throws ConfigError in one line that names the file
 */
export async function readSlurmFile(path: string): Promise<SlurmOptions> {
  const found = schema.safeParse((await readYaml(path)) ?? {})
  if (!found.success) throw new ConfigError(`${path}: ${requirement(found.error.issues[0])}`)
  const { setup = [], ...rest } = found.data
  if (setup === true || typeof setup === 'number') throw new ConfigError(`${path}: setup: must be lines of bash`)
  const options: Record<string, string | true> = {}
  for (const [name, given] of Object.entries(rest)) {
    if (Array.isArray(given)) throw new ConfigError(`${path}: ${name}: must be one value`)
    options[name] = given === true ? given : String(given)
  }
  return slurmOptions(options, typeof setup === 'string' ? setup.split('\n') : setup)
}

/**
 * Options of sbatch by name, checked. An undefined value leaves the option out.
 *
 * @throws ConfigError if sbatch would not read a value as it stands, or the option is chosen by the command itself
 */
export function slurmOptions(
  options: Readonly<Record<string, string | true | undefined>>,
  setup: readonly string[] = [],
): SlurmOptions {
  const sbatch: Record<string, string | true> = {}
  for (const [name, given] of Object.entries(options))
    if (given !== undefined) sbatch[name] = given === true ? given : checked(name, given)
  for (const [name, given] of Object.entries(sbatch)) if (given === true) checked(name, 'true')
  return { sbatch, setup }
}

/** Two sets of options as one; those of `upper` win. */
export const overlaySlurm = (lower: SlurmOptions, upper: SlurmOptions): SlurmOptions => ({
  sbatch: { ...lower.sbatch, ...upper.sbatch },
  setup: [...lower.setup, ...upper.setup],
})
