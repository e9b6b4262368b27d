/** `npm run mutate`: breaks one thing at a time in a copy of the code, and says what the tests do not notice. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { openCompiler } from './compiles.js'
import { Coverage } from './coverage.js'
import { familyOf } from './files.js'
import { inDrawnOrder, mutantOf, mutated, type Mutant } from './mutant.js'
import { Readings, summary, type Equivalent, type Reading } from './readings.js'
import { Runner } from './runner.js'
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
const PATIENCE = 10
const PATIENCE_SECONDS = 60

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
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      stop()
      process.exit(130)
    })
  try {
    const coverage = await Coverage.of(place, join(options.out, 'coverage.json'), console.error)
    const mutants = await draw(place, options)
    console.error(`${mutants.length} mutants of ${new Set(mutants.map(({ file }) => file)).size} files`)
    const results: Reading[] = []
    let changed: string[] = []
    for (const [i, mutant] of mutants.entries()) {
      const tests = coverage.testsOf(mutant)
      const version = coverage.version(tests)
      const before = readings.of(mutant)
      if (before && (before.noticedBy || before.tests === version)) {
        results.push(before)
        continue
      }
      const source = place.read(mutant.file)
      const begun = performance.now()
      place.write(mutant.file, mutated(source, mutant))
      const limit = PATIENCE * coverage.seconds(tests) + PATIENCE_SECONDS
      const { failed } = tests.length ? await runner.run({ tests, changed: [...changed, mutant.file] }, limit) : {}
      place.write(mutant.file, source)
      changed = [mutant.file]
      const seconds = (performance.now() - begun) / 1000
      const { key, file, line, kind } = mutant
      const reading = {
        ...{ key, file, line, kind, before: mutant.before, after: mutant.after, seconds },
        ...(failed ? { noticedBy: failed.test, message: failed.message } : { tests: version }),
      }
      readings.add(reading)
      results.push(reading)
      const verdict = failed ? `noticed by ${failed.test}` : `SURVIVES ${tests.length} test files`
      console.error(`${i + 1}/${mutants.length} ${file}:${line} ${kind}: ${verdict} (${seconds.toFixed(1)} s)`)
      if (!failed) console.error(`    ${mutant.before}\n    ${mutant.after}`)
    }
    console.log(summary(results, known))
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
