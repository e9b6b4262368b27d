/** A reporter for Vitest that keeps a file of the results so far, in the file that BENCH_TESTS_FILE names. */
import { renameSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import type { Reporter, TestCase } from 'vitest/node'
import type { TestResults } from './page.js'

export default class ResultsFile implements Reporter {
  private readonly results: TestResults = { passed: 0, skipped: 0, failed: [], whole: false }
  private readonly path = process.env.BENCH_TESTS_FILE!

  onTestCaseResult(test: TestCase): void {
    const { state, errors } = test.result()
    if (state === 'passed') this.results.passed++
    else if (state === 'skipped') this.results.skipped++
    else if (state === 'failed') {
      const message = errors?.[0]?.message.split('\n')[0] ?? 'failed'
      this.results.failed.push({ test: `${relative(process.cwd(), test.module.moduleId)}: ${test.fullName}`, message })
    }
    this.write()
  }

  onTestRunEnd(): void {
    this.results.whole = true
    this.write()
  }

  private write(): void {
    writeFileSync(`${this.path}.part`, JSON.stringify(this.results))
    renameSync(`${this.path}.part`, this.path)
  }
}
