/** Where and when something was measured. */
import { cpus } from 'node:os'
import type { Engine } from '../../engine/index.js'

/** Every measured figure is published with its origin. */
export interface Origin {
  adapter: string
  driver: string
  /** ISO 8601, UTC. */
  date: string
  /** Rounds that medians are taken over; absent if nothing was repeated. */
  rounds?: number
  node: string
  /** The host's CPU model and its number of threads. */
  cpu: string
}

/** What else the adapter tells about itself. */
const driverOf = ({ vendor, architecture, device, description }: GPUAdapterInfo, name: string): string =>
  [vendor, architecture, device, description].filter((part) => part && part !== name).join(' ') || 'not told'

export function originOf(engine: Engine, rounds?: number): Origin {
  const { info, description } = engine
  const list = cpus()
  return {
    adapter: description,
    driver: driverOf(info, description),
    date: new Date().toISOString(),
    rounds,
    node: process.versions.node,
    cpu: `${list[0]?.model.trim() ?? 'unknown CPU'}, ${list.length} threads`,
  }
}

/** The origin in parts, for a line below a table or for the lines below a plot's title. */
export const originParts = ({ adapter, driver, date, rounds, node, cpu }: Origin): string[] => [
  `${adapter} (${driver})`,
  `${date.slice(0, 16).replace('T', ' ')} UTC`,
  ...(rounds === undefined ? [] : [`median of ${rounds} rounds`]),
  `Node ${node}`,
  cpu,
]

/** The origin in one line. */
export const describeOrigin = (origin: Origin): string => originParts(origin).join('; ')
