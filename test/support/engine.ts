/** One engine for the whole test run: a device and its pipelines are dear on a software driver. */
import { openEngine } from '../../engine/node/index.js'
import type { Engine } from '../../engine/index.js'

let opened: Promise<Engine> | undefined

export const engine = (): Promise<Engine> => (opened ??= openEngine())
