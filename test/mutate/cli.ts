/** `npm run mutate`: breaks one thing at a time in a copy of the code, and says what the tests do not notice. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { openCompiler } from './compiles.js'
import { Coverage } from './coverage.js'
import { familyOf } from './files.js'
import { inDrawnOrder, mutantOf, mutated, type Mutant } from './mutant.js'
import { Readings, reasonOf, summary, type Equivalent } from './readings.js'
import { type Outcome, Runner } from './runner.js'
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

/** A mutant may take this many times as long as the tests do, plus some seconds, before it counts as hung. */
const PATIENCE = 4
const PATIENCE_SECONDS = 30

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
    const all = coverage.testsOf(mutant)
    const quick = coverage.quick(all)
    const before = readings.of(mutant)
    if (before?.noticedBy || before?.tests === coverage.version(all)) return
    const quickAreKnown = before?.tests === coverage.version(quick)
    if (quickAreKnown && which === 'quick') return
    const tests = which === 'quick' ? quick : quickAreKnown ? all.filter((test) => !quick.includes(test)) : all
    const begun = performance.now()
    const failed = await this.run(mutant, tests)
    const seconds = (performance.now() - begun) / 1000
    const { key, file, line, kind } = mutant
    readings.add({
      ...{ key, file, line, kind, before: mutant.before, after: mutant.after, seconds },
      ...(failed
        ? { noticedBy: failed.test, message: failed.message }
        : { tests: coverage.version(which === 'quick' ? quick : all) }),
    })
    const verdict = failed ? `noticed by ${failed.test}` : `SURVIVES ${tests.length} test files`
    console.error(`${number} ${file}:${line} ${kind}: ${verdict} (${seconds.toFixed(1)} s)`)
    if (!failed) console.error(`    ${mutant.before}\n    ${mutant.after}`)
  }

  private async run(mutant: Mutant, tests: readonly string[]): Promise<Outcome['failed']> {
    if (tests.length === 0) return undefined
    const { place, changed } = this
    const source = place.read(mutant.file)
    this.changed = [mutant.file]
    place.write(mutant.file, mutated(source, mutant))
    try {
      const limit = PATIENCE * this.coverage.seconds(tests) + PATIENCE_SECONDS
      return (await this.runner.run({ tests, changed: [...changed, mutant.file] }, limit)).failed
    } finally {
      place.write(mutant.file, source)
    }
  }
}

async function run(options: Options): Promise<void> {
  mkdirSync(options.out, { recursive: true })
  const readings = new Readings(join(options.out, 'readings.jsonl'))
  const known: Equivalent[] = JSON.parse(readFileSync(new URL('equivalent.json', import.meta.url), 'utf8'))
  const place = new Workplace()
  const runner = new Runner(place.folder)
  const stop = (): void => {
    runner.stop()
    place.remove()
  }
  let mutants: Mutant[] = []
  const report = (): void =>
    console.log(
      summary(
        mutants.flatMap((mutant) => readings.of(mutant) ?? []),
        known,
      ),
    )
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      stop()
      report()
      process.exit(130)
    })
  try {
    const coverage = await Coverage.of(place, join(options.out, 'coverage.json'), console.error)
    mutants = await draw(place, options)
    console.error(`${mutants.length} mutants of ${new Set(mutants.map(({ file }) => file)).size} files`)
    const trials = new Trials(place, runner, coverage, readings)
    // The quick tests notice most mutants. What survives them meets the slow ones when all have been tried.
    for (const [i, mutant] of mutants.entries()) await trials.of(mutant, `${i + 1}/${mutants.length}`, 'quick')
    const open = mutants.filter((mutant) => !reasonOf(mutant, known) && !readings.of(mutant)?.noticedBy)
    for (const [i, mutant] of open.entries()) await trials.of(mutant, `survivor ${i + 1}/${open.length}`, 'all')
    report()
  } finally {
    stop()
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
