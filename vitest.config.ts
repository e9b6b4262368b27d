import { defineConfig } from 'vitest/config'

// Two processes take the test files, each with one device for all of its files, so that a driver compiles a kernel once in
// each. On a software driver, one process leaves half of two cores idle, and more compile more.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/support/guards.setup.ts'],
    pool: 'forks',
    isolate: false,
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    slowTestThreshold: 5_000,
  },
})
