/** `npm run mutate`: breaks one thing at a time in a copy of the code, and says what the tests do not notice. */
import { mkdirSync, readFileSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { openCompiler } from './compiles.js'
import { Coverage } from './coverage.js'
import { familyOf } from './files.js'
import { hash, inDrawnOrder, mutantOf, mutated, type Mutant } from './mutant.js'
import { Readings, reasonOf, summary, type Equivalent, type Reading } from './readings.js'
import { type Failure, isLate, isNoVerdict, Runner } from './runner.js'
import { changesOfTypeScript } from './typescript.js'
import { changesOfKernel } from './wgsl.js'
import { Workplace } from './workplace.js'

interface Options {
  seed: number
  kernel: number
  other: number
  only?: string
  out: string
}

/**
 * A mutant may take this many times as long as the tests do, plus some seconds, before it counts as hung. On a busy
 * machine it may take longer.
 */
const PATIENCE = 4
const PATIENCE_SECONDS = 30
const busy = (): number => Math.max(1, loadavg()[0] / availableParallelism())

/** The mutants of a run: the first ones of each file that compile. */
async function draw(place: Workplace, { seed, kernel, other, only }: Options): Promise<Mutant[]> {
  const compiler = await openCompiler()
  const drawn: Mutant[] = []
  for (const file of place.files) {
    if (!familyOf(file) || (only && !file.includes(only))) continue
    const source = place.read(file)
    const name = /^shaders\/(\w+)\.wgsl$/.exec(file)?.[1]
    const changes = name ? changesOfKernel(source) : changesOfTypeScript(file, source)
    const mutants = inDrawnOrder(
      changes.map((change) => mutantOf(file, source, change)),
      seed,
    )
    let left = name ? kernel : other
    for (const mutant of mutants) {
      if (left === 0) break
      if (name && !(await compiler.compiles(name, source, mutated(source, mutant)))) continue
      drawn.push(mutant)
      left--
    }
  }
  compiler.close()
  // Kernels and TypeScript take turns, so that a run that is stopped has tried some of each.
  return inDrawnOrder(
    drawn.map((mutant) => ({ ...mutant, kind: mutant.file })),
    seed,
  ).map(({ file, key }) => drawn.find((mutant) => mutant.file === file && mutant.key === key)!)
}

/** The test file in the name of a test. */
const fileOf = (test: string): string | undefined => /^test\/.+?\.test\.ts/.exec(test)?.[0]

/** Tries mutants, and keeps the readings. */
class Trials {
  /** The file of the mutant before, which has its own text again. */
  private changed: string[] = []

  constructor(
    private readonly place: Workplace,
    private readonly runner: Runner,
    private readonly coverage: Coverage,
    private readonly readings: Readings,
  ) {}

  /** Runs the tests that can notice a mutant, unless it is known that they do or that they do not. */
  async of(mutant: Mutant, number: string, which: 'quick' | 'all'): Promise<void> {
    const { coverage, readings } = this
    const before = readings.of(mutant)
    if (before && this.isNoticed(before)) return
    const noticing = fileOf(before?.noticedBy ?? '')
    // A test that has noticed the mutant, and has changed since, is asked first.
    const all = coverage.testsOf(mutant).sort((a, b) => Number(b === noticing) - Number(a === noticing))
    const quick = coverage.quick(all)
    if (before?.tests === coverage.version(all)) return
    const quickAreKnown = before?.tests === coverage.version(quick)
    if (quickAreKnown && which === 'quick') return
    const tests = which === 'quick' ? quick : quickAreKnown ? all.filter((test) => !quick.includes(test)) : all
    const begun = performance.now()
    const failed = await this.run(mutant, tests)
    if (failed === 'unknown') return console.error(`${number} ${mutant.file}:${mutant.line}: the machine is too busy`)
    const seconds = (performance.now() - begun) / 1000
    const { key, file, line, kind } = mutant
    readings.add({
      ...{ key, file, line, kind, before: mutant.before, after: mutant.after, seconds },
      ...(failed
        ? { noticedBy: failed.test, message: failed.message, tests: this.textOf(fileOf(failed.test)) }
        : { tests: coverage.version(which === 'quick' ? quick : all) }),
    })
    const verdict = failed ? `noticed by ${failed.test}` : `SURVIVES ${tests.length} test files`
    console.error(`${number} ${file}:${line} ${kind}: ${verdict} (${seconds.toFixed(1)} s)`)
    if (!failed) console.error(`    ${mutant.before}\n    ${mutant.after}`)
  }

  /** Whether a test notices the mutant, and its file is still the same. */
  isNoticed({ noticedBy, tests }: Reading): boolean {
    const file = fileOf(noticedBy ?? '')
    return noticedBy !== undefined && (file === undefined || tests === this.textOf(file))
  }

  private textOf = (file: string | undefined): string | undefined =>
    file !== undefined && this.place.files.includes(file) ? hash(this.place.read(file)) : undefined

  /** @returns the first failure; 'unknown' if the tests are too slow without the mutant, too */
  private async run(mutant: Mutant, tests: readonly string[]): Promise<Failure | 'unknown' | undefined> {
    if (tests.length === 0) return undefined
    const { place } = this
    const source = place.read(mutant.file)
    const limit = (PATIENCE * this.coverage.seconds(tests) + PATIENCE_SECONDS) * busy()
    place.write(mutant.file, mutated(source, mutant))
    try {
      const failed = await this.failure(tests, mutant.file, limit)
      if (failed && isNoVerdict(failed)) return 'unknown'
      if (!failed || !isLate(failed)) return failed
      place.write(mutant.file, source)
      const file = fileOf(failed.test)
      return (await this.failure(file ? [file] : tests, mutant.file, limit)) ? 'unknown' : failed
    } finally {
      place.write(mutant.file, source)
    }
  }

  private async failure(tests: readonly string[], changed: string, limit: number): Promise<Failure | undefined> {
    const files = [...this.changed, changed]
    this.changed = [changed]
    return (await this.runner.run({ tests, changed: files }, limit)).failed
  }
}

async function run(options: Options): Promise<void> {
  mkdirSync(options.out, { recursive: true })
  const readings = new Readings(join(options.out, 'readings.jsonl'))
  const known: Equivalent[] = JSON.parse(readFileSync(new URL('equivalent.json', import.meta.url), 'utf8'))
  const place = new Workplace()
  const runner = new Runner(place.folder)
  let mutants: Mutant[] = []
  let trials: Trials | undefined
  const report = (): void => {
    const own = mutants.flatMap((mutant) => readings.of(mutant) ?? [])
    const valid = own.filter((reading) => !reading.noticedBy || trials?.isNoticed(reading))
    console.log(summary(valid, known))
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      runner.stop()
      // The report reads the copy.
      report()
      place.remove()
      process.exit(130)
    })
  try {
    const coverage = await Coverage.of(place, join(options.out, 'coverage.json'), console.error)
    mutants = await draw(place, options)
    console.error(`${mutants.length} mutants of ${new Set(mutants.map(({ file }) => file)).size} files`)
    trials = new Trials(place, runner, coverage, readings)
    // The quick tests notice most mutants. What survives them meets the slow ones when all have been tried.
    for (const [i, mutant] of mutants.entries()) await trials.of(mutant, `${i + 1}/${mutants.length}`, 'quick')
    const open = mutants.filter((mutant) => {
      const reading = readings.of(mutant)
      return !reasonOf(mutant, known) && !(reading && trials?.isNoticed(reading))
    })
    for (const [i, mutant] of open.entries()) await trials.of(mutant, `survivor ${i + 1}/${open.length}`, 'all')
    report()
  } finally {
    runner.stop()
    place.remove()
  }
}

await new Command('mutate')
  .description(
    'Break one thing at a time in kernels, ops, objectives and optimisers, run the tests that can notice it, and list what they do not notice. The working tree stays as it is. A run that is stopped goes on where it was.',
  )
  .option('--seed <number>', 'seed of the draw', Number, 1)
  .option('--kernel <count>', 'mutants of each kernel', Number, 5)
  .option('--other <count>', 'mutants of each other file', Number, 3)
  .option('--only <text>', 'only files whose path contains this text')
  .option('--out <folder>', 'folder for the readings', 'runs/mutate')
  .action(run)
  .parseAsync()
process.exit()
