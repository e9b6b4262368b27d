import { defineConfig } from 'vitest/config'

// One process and one device for all test files: a driver compiles every kernel once.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/support/guards.setup.ts'],
    pool: 'forks',
    isolate: false,
    fileParallelism: false,
    maxWorkers: 1,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    slowTestThreshold: 5_000,
  },
})
