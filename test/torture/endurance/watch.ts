/**
 * Loaded before a command, it writes what the process holds, now and then: memory, and what the engine has on the
 * device. Usage: `node --expose-gc --import tsx --import THIS train/cli/pretrain.ts …`
 */
import { appendFileSync, closeSync, existsSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { Engine, type Counters } from '../../../engine/engine.js'
import type { Reading, Ending } from './readings.js'

const file = process.env.ENDURANCE_READINGS!
const metrics = process.env.ENDURANCE_METRICS!
/** Steps between two readings. */
const every = Number(process.env.ENDURANCE_EVERY)
const LOOK_MS = 50

let counters = (): Pick<Counters, 'bindGroups' | 'pipelines'> => ({ bindGroups: 0, pipelines: 0 })
let [bytes, buffers] = [0, 0]

const createBuffer = Engine.prototype.createBuffer
Engine.prototype.createBuffer = function (this: Engine, size, usage, label) {
  counters = () => this.counters
  const buffer = createBuffer.call(this, size, usage, label)
  bytes += size
  buffers++
  const destroy = buffer.destroy.bind(buffer)
  let destroyed = false
  buffer.destroy = () => {
    if (!destroyed) {
      destroyed = true
      bytes -= size
      buffers--
    }
    return destroy()
  }
  return buffer
}

/** The last step in the file of metrics. */
function lastStep(): number {
  if (!existsSync(metrics)) return 0
  const handle = openSync(metrics, 'r')
  try {
    const { size } = fstatSync(handle)
    const tail = Buffer.alloc(Math.min(size, 4096))
    readSync(handle, tail, 0, tail.length, size - tail.length)
    const steps = [...tail.toString().matchAll(/"step":(\d+)/g)]
    return Number(steps.at(-1)?.[1] ?? 0)
  } finally {
    closeSync(handle)
  }
}

/** Open files, where the system lists them. */
const openFiles = (): number => (existsSync('/proc/self/fd') ? readdirSync('/proc/self/fd').length : 0)

const write = (line: Reading | Ending): void => appendFileSync(file, `${JSON.stringify(line)}\n`)

let last = 0
const timer = setInterval(() => {
  const step = lastStep()
  if (step < last + every) return
  last = step
  // Garbage that is not yet collected is no leak.
  ;(globalThis as { gc?: () => void }).gc?.()
  const { rss, heapUsed, external } = process.memoryUsage()
  const made = counters()
  write({
    ...{ step, resident: rss, heap: heapUsed + external, deviceBytes: bytes, deviceBuffers: buffers },
    ...{ bindGroups: made.bindGroups, pipelines: made.pipelines, openFiles: openFiles() },
  })
}, LOOK_MS)
timer.unref()

process.on('exit', () => {
  clearInterval(timer)
  write({ ended: Date.now(), resources: process.getActiveResourcesInfo() })
})
