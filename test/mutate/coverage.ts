/** Which test files use a kernel or call a function. It is recorded once for each version of the tests. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { COPIES, isAsked, isNumericTest } from './files.js'
import { hash, type Mutant } from './mutant.js'
import { isNoVerdict, Runner } from './runner.js'
import type { Workplace } from './workplace.js'

/** The first tests are asked about all mutants before the others are: as many as take together so many seconds. */
const QUICK_SECONDS = 20

/** What the tests of `files.ts` share. */
const HELPERS = /^test\/(?!mutate\/|torture\/|package\/|readme\/|bench\/).*(?<!\.test)\.ts$/

/** So many test files are recorded at once, and then kept. They may take so long on a busy machine. */
const FILES_AT_ONCE = 6
const RECORDING_SECONDS = 3600

interface Recorded {
  /** Hash of the test file and of what test files share. */
  readonly text: string
  /** Of processors: a busy machine does not change them much. */
  readonly seconds: number
  readonly kernels: readonly string[]
  /** Called functions as `path#name`. */
  readonly functions: readonly string[]
}

/** The test that is named after a file notices most mistakes in it. */
const NAMESAKE = 0.1

/** Tests of low rank come first: their time, times the number of kernels that they use, is small. */
function rankOf(test: string, { seconds, kernels }: Recorded, file: string): number {
  const isNamesake = basename(test, '.test.ts') === basename(file, '.ts')
  return seconds * (1 + kernels.length) * (isNamesake ? NAMESAKE : 1)
}

export class Coverage {
  private constructor(private readonly tests: ReadonlyMap<string, Recorded>) {}

  /**
   * Reads what is known from a file, and runs the test files that are new or have changed.
   *
   * @throws Error if a test fails without any mutant
   */
  static async of(place: Workplace, path: string, say: (line: string) => void): Promise<Coverage> {
    const known: Record<string, Recorded> = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {}
    const files = place.files.filter(isNumericTest)
    const helpers = place.files.filter((file) => HELPERS.test(file))
    const shared = hash(...helpers.map(place.read))
    const texts = new Map(files.map((file) => [file, hash(shared, place.read(file))]))
    const open = files.filter((file) => known[file]?.text !== texts.get(file))
    const lines = join(place.folder, 'coverage.jsonl')
    const runner = new Runner(place.folder, true, { MUTATE_COVERAGE: lines })
    try {
      for (let i = 0; i < open.length; i += FILES_AT_ONCE) {
        say(`recording what ${open.length} test files use: ${i} done`)
        rmSync(lines, { force: true })
        const tests = open.slice(i, i + FILES_AT_ONCE)
        const { failed } = await runner.run({ tests, changed: [] }, RECORDING_SECONDS)
        if (failed && isNoVerdict(failed)) {
          say('the machine is too busy: trying again')
          runner.stop()
          i -= FILES_AT_ONCE
          continue
        }
        if (failed) throw new Error(`a test fails without any mutant: ${failed.test}: ${failed.message}`)
        for (const line of readFileSync(lines, 'utf8').trim().split('\n')) {
          const { test, ...recorded } = JSON.parse(line) as Omit<Recorded, 'text'> & { test: string }
          known[test] = { text: texts.get(test)!, ...recorded }
        }
        writeFileSync(path, JSON.stringify(known, null, 1))
      }
    } finally {
      runner.stop()
    }
    return new Coverage(new Map(files.filter((file) => known[file]).map((file) => [file, known[file]])))
  }

  /** The test files that can notice a mutant: first those that are quick and that test little else. */
  testsOf({ file, within }: Mutant): string[] {
    const kernel = /^shaders\/(\w+)\.wgsl$/.exec(file)?.[1]
    const uses = (recorded: Recorded): boolean => {
      if (kernel) return recorded.kernels.includes(kernel)
      if (within && this.isCalled(`${file}#${within}`)) return recorded.functions.includes(`${file}#${within}`)
      return recorded.functions.some((name) => name.startsWith(`${file}#`))
    }
    const numeric = [...this.tests]
      .filter(([test, recorded]) => isAsked(test, file) && uses(recorded))
      .map(([test, recorded]) => ({ test, rank: rankOf(test, recorded, file) }))
      .sort((a, b) => a.rank - b.rank)
      .map(({ test }) => test)
    return kernel ? [...numeric, COPIES] : numeric
  }

  /** The first of these tests, which take a bounded time together. */
  quick(tests: readonly string[]): string[] {
    let total = 0
    return tests.filter((test, i) => (total += this.seconds([test])) <= QUICK_SECONDS || i === 0 || test === COPIES)
  }

  private isCalled = (name: string): boolean =>
    [...this.tests.values()].some(({ functions }) => functions.includes(name))

  seconds = (tests: readonly string[]): number =>
    tests.reduce((sum, test) => sum + (this.tests.get(test)?.seconds ?? 0), 0)

  /** Identifies a list of tests with their texts and with what tests share: a survivor is tried again when they change. */
  version = (tests: readonly string[]): string => hash(...tests.map((test) => test + this.tests.get(test)?.text))
}
