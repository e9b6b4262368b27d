/** Options, values and requirements as error messages show them. */
import type { z } from 'zod'

/** An option in a message. The command line replaces the quotes by its dashes. */
export const quoted = (field: PropertyKey): string => `\`${String(field)}\``

/** A value in a message, in one short line. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return `'${shortened(value)}'`
  return typeof value === 'object' && value !== null ? shortened(JSON.stringify(value)) : String(value)
}

const LONGEST_SHOWN = 80
const shortened = (text: string): string => (text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}…` : text)

/** Says what an option takes, by the issue that the validator found. */
export function requirement(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'too_small':
      return `must be ${issue.inclusive ? 'at least' : 'more than'} ${issue.minimum}`
    case 'too_big':
      return `must be ${issue.inclusive ? 'at most' : 'less than'} ${issue.maximum}`
    case 'invalid_value':
      return `choose one of ${issue.values.join(', ')}`
    case 'invalid_type':
      return `must be ${{ int: 'a whole number', number: 'a number', string: 'text', boolean: 'true or false' }[issue.expected as string] ?? issue.expected}`
    case 'invalid_union':
      return issue.path[0] === 'projectorDepth' ? 'choose one of 2, 3' : issue.message
    default:
      return issue.message
  }
}
