/**
 * A setup file of Vitest. For each test file it records which kernels the file uses, which functions it calls, and the
 * time of processors that it takes, as one line of JSON in the file that `MUTATE_COVERAGE` names.
 */
import { appendFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, expect } from 'vitest'
import { Kernel } from '../../engine/index.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** All test files share a process, so the kernels are watched once. `mutateCalled` also stands in `callsRecorded`. */
interface Recording {
  kernels: Set<string>
  functions: Set<string>
}
const holder = globalThis as { mutateRecording?: Recording; mutateCalled?: (name: string) => void }

function begin(): Recording {
  const recording = { kernels: new Set<string>(), functions: new Set<string>() }
  holder.mutateCalled = (name) => void recording.functions.add(name)
  const { packParams, specialize } = Kernel.prototype
  Kernel.prototype.packParams = function (this: Kernel, ...given) {
    recording.kernels.add(this.name)
    return packParams.apply(this, given)
  }
  Kernel.prototype.specialize = function (this: Kernel, ...given) {
    recording.kernels.add(this.name)
    return specialize.apply(this, given)
  }
  return recording
}

const { kernels, functions } = (holder.mutateRecording ??= begin())
kernels.clear()
functions.clear()
const begun = process.cpuUsage()

afterAll(() => {
  const test = expect.getState().testPath!.slice(root.length).replaceAll('\\', '/')
  const { user, system } = process.cpuUsage(begun)
  const line = { test, seconds: (user + system) / 1e6, kernels: [...kernels], functions: [...functions] }
  appendFileSync(process.env.MUTATE_COVERAGE!, `${JSON.stringify(line)}\n`)
})
