/** Validates what is read from a run's files. */
import type { z } from 'zod'
import { ConfigError } from '../config/config.js'
import { requirement } from '../config/messages.js'

/**
 * A value that has the form of a schema.
 *
 * @throws ConfigError in one line that names the file and the field
 */
export function validated<T>(schema: z.ZodType<T>, value: unknown, file: string): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const path = issue.path.join('.')
  throw new ConfigError(`${file}: ${path ? `${path} ` : ''}${requirement(issue)}`)
}
