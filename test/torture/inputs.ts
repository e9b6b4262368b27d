/** Damaged files for every parser of bytes from outside: each is accepted, or refused in one line that names it. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { damaged } from './mutations.js'
import { parsers, type Parser } from './parsers.js'

export interface Attacked {
  parser: string
  cases: number
  accepted: number
  refused: number
  slowestMs: number
  /** Growth of the process's memory while this parser was attacked. */
  grownMiB: number
  /** Why a case failed, with the case. */
  failure?: string
}

/** Slow parsers get this share of the cases of a fast one. */
const SLOW_SHARE = 0.25
const LONGEST_SHOWN = 400

/** @param cases for all parsers together */
export async function attackInputs(
  { cases, seed }: { cases: number; seed: number },
  onResult: (result: Attacked) => void = () => undefined,
): Promise<Attacked[]> {
  const inMemory = '/dev/shm'
  const folder = mkdtempSync(join(existsSync(inMemory) ? inMemory : tmpdir(), 'torture-'))
  try {
    const list = await parsers(folder)
    const weight = ({ slow }: Parser): number => (slow ? SLOW_SHARE : 1)
    const total = list.reduce((sum, parser) => sum + weight(parser), 0)
    const results: Attacked[] = []
    for (const parser of list) {
      results.push(await attack(parser, Math.ceil((cases * weight(parser)) / total), seed))
      onResult(results.at(-1)!)
    }
    return results
  } finally {
    rmSync(folder, { recursive: true })
  }
}

async function attack(parser: Parser, cases: number, seed: number): Promise<Attacked> {
  const result: Attacked = { parser: parser.name, cases, accepted: 0, refused: 0, slowestMs: 0, grownMiB: 0 }
  for (const bytes of parser.valid)
    if (!(await isAccepted(parser, bytes))) throw new Error(`${parser.name}: a valid file is refused`)
  const before = process.memoryUsage.rss()
  const property = fc.asyncProperty(damaged(parser.valid), async (bytes) => {
    const begun = performance.now()
    const accepted = await isAccepted(parser, bytes)
    result[accepted ? 'accepted' : 'refused']++
    result.slowestMs = Math.max(result.slowestMs, performance.now() - begun)
    result.grownMiB = Math.max(result.grownMiB, (process.memoryUsage.rss() - before) / 2 ** 20)
  })
  const { failed, counterexample, errorInstance } = await fc.check(property, { numRuns: cases, seed })
  if (!failed) return result
  const bytes = Buffer.from(counterexample![0])
  const shown = JSON.stringify(bytes.toString('latin1').slice(0, LONGEST_SHOWN))
  return { ...result, failure: `${(errorInstance as Error).message} (seed ${seed}, ${bytes.length} bytes: ${shown})` }
}

const PROTOTYPES: readonly object[] = [Object.prototype, Array.prototype, Function.prototype]
const properties = (): number =>
  PROTOTYPES.reduce<number>((sum, prototype) => sum + Reflect.ownKeys(prototype).length, 0)

/** @throws Error if the parser fails in another way than by one line that names the file */
async function isAccepted({ parse, file }: Parser, bytes: Uint8Array): Promise<boolean> {
  const before = properties()
  let refusal: unknown
  try {
    await parse(bytes)
  } catch (error) {
    refusal = error ?? 'nothing'
  }
  if (properties() !== before) throw new Error('a prototype was changed')
  if (refusal === undefined) return true
  if (!(refusal instanceof Error)) throw new Error('it threw something that is no Error')
  const { name, message, stack } = refusal
  if (['TypeError', 'RangeError', 'ReferenceError', 'SyntaxError'].includes(name))
    throw new Error(`${name}: ${stack?.split('\n').slice(0, 3).join(' ')}`)
  if (message.includes('\n')) throw new Error(`its message has several lines: ${JSON.stringify(message)}`)
  if (!message.includes(file)) throw new Error(`its message does not name ${file}: ${message}`)
  return false
}
