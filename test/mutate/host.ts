/**
 * A process that runs test files of a copy of the working tree as often as it is asked to. Vitest stays open, so that
 * each file is transformed once. It is a process of its own because a mutant may hang it.
 */
import { join } from 'node:path'
import { type CliOptions, type TestCase, type TestModule, type TestSpecification, createVitest } from 'vitest/node'
import { familyOf } from './files.js'
import { callsRecorded } from './typescript.js'

/** A request: run these files in this order, and stop at the first failure. */
export interface Request {
  readonly tests: readonly string[]
  /** Files that have changed since the last request. */
  readonly changed: readonly string[]
}

/** A test that failed, or the end of a request. */
export type Answer = { readonly failed: { readonly test: string; readonly message: string } } | { readonly done: true }

const root = process.cwd()
const send = (answer: Answer): void => void process.send!(answer)
const relative = (path: string): string => path.slice(root.length + 1).replaceAll('\\', '/')
let order: readonly string[] = []

/** Runs the files in the order of the request, not the longest first. */
class AsRequested {
  sort = (files: TestSpecification[]): TestSpecification[] => {
    const place = ({ moduleId }: TestSpecification): number => order.indexOf(relative(moduleId))
    return files.sort((a, b) => place(a) - place(b))
  }
  shard = (files: TestSpecification[]): TestSpecification[] => files
}

const firstLine = (message: string | undefined): string => (message ?? '').split('\n')[0].slice(0, 200)
const reporter = {
  onTestCaseResult(test: TestCase): void {
    const { state, errors } = test.result()
    if (state === 'failed')
      send({
        failed: {
          test: `${relative(test.module.moduleId)} > ${test.fullName}`,
          message: firstLine(errors?.[0]?.message),
        },
      })
  },
  onTestModuleEnd(module: TestModule): void {
    const [error] = module.errors()
    if (error) send({ failed: { test: relative(module.moduleId), message: firstLine(error.message) } })
  },
}

const recording = process.argv[2] === 'record'
/** Says which functions of the broken files a test calls. */
const recorder = {
  name: 'record-calls',
  enforce: 'pre' as const,
  transform(code: string, id: string): string | undefined {
    const file = relative(id)
    return file.endsWith('.ts') && familyOf(file) ? callsRecorded(file, code) : undefined
  },
}
const options: CliOptions = {
  root,
  watch: false,
  bail: recording ? 0 : 1,
  reporters: [reporter],
  sequence: { sequencer: AsRequested },
  setupFiles: ['test/support/guards.setup.ts', ...(recording ? ['test/mutate/coverage.setup.ts'] : [])],
  // The process that asks has limits of its own, which know how busy the machine is.
  testTimeout: 3_600_000,
  hookTimeout: 3_600_000,
  silent: true,
}
const vitest = await createVitest('test', options, { plugins: recording ? [recorder] : [] })
await vitest.standalone()

process.on('message', ({ tests, changed }: Request) => {
  void (async () => {
    order = tests
    for (const file of changed) vitest.invalidateFile(join(root, file))
    const project = vitest.getRootProject()
    const { unhandledErrors } = await vitest.runTestSpecifications(
      tests.map((file) => project.createSpecification(join(root, file))),
    )
    for (const error of unhandledErrors)
      send({ failed: { test: 'outside of a test', message: firstLine((error as Error).message) } })
    send({ done: true })
  })().catch((error: Error) => {
    send({ failed: { test: 'outside of a test', message: firstLine(error.message) } })
    send({ done: true })
  })
})
process.on('disconnect', () => process.exit())
send({ done: true })
