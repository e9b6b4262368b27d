/** A RunStore in memory. */
import type { RunStore } from '../../train/run/store.js'

export function memoryStore(files = new Map<string, Uint8Array>()): RunStore {
  const bytesOf = (data: string | Uint8Array): Uint8Array =>
    typeof data === 'string' ? new TextEncoder().encode(data) : data.slice()
  const textOf = (path: string): string | undefined => {
    const bytes = files.get(path)
    return bytes && new TextDecoder().decode(bytes)
  }
  return {
    nameOf: (path) => (path === undefined ? 'memory' : `memory:${path}`),
    readText: async (path) => textOf(path),
    readBytes: async (path) => files.get(path),
    list: async (path) => {
      const folder = path === '' ? '' : `${path}/`
      const inside = [...files.keys()].filter((name) => name.startsWith(folder))
      return [...new Set(inside.map((name) => name.slice(folder.length).split('/')[0]))]
    },
    write: async (path, data) => void files.set(path, bytesOf(data)),
    writeFolder: async (path, fill) => {
      const written: [string, Uint8Array][] = []
      await fill(async (name, data) => void written.push([`${path}/${name}`, bytesOf(data)]))
      for (const [name, bytes] of written) files.set(name, bytes)
    },
    append: async (path, data) => {
      const [before, more] = [files.get(path) ?? new Uint8Array(), bytesOf(data)]
      files.set(path, Uint8Array.of(...before, ...more))
    },
    remove: async (path) => {
      for (const name of [...files.keys()]) if (name === path || name.startsWith(`${path}/`)) files.delete(name)
    },
  }
}
