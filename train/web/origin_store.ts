/**
 * Runs in a browser: a folder of the origin private file system, which belongs to the page's origin and needs no
 * permission. Pages and workers can use it; it exists only on https pages and on localhost.
 *
 * A file is replaced at once, because browsers write to a copy and swap it in. A folder cannot be renamed. Therefore
 * `writeFolder` fills a folder under another name, `step-1~ID`, and then writes a file `step-1~link` that holds this
 * name. Only the link makes the folder visible under its own name.
 */
import type { RunStore, WriteInto } from '../run/store.js'

type Folder = FileSystemDirectoryHandle

const LINK = '~link'

/**
 * The files of a run in the origin private file system.
 *
 * @param run path of the run's folder, such as 'runs/mine'; it need not exist yet
 * @throws Error in one line, at the first use, if the browser offers no such file system here
 */
export function originStore(run: string): RunStore {
  const base = run.split('/').filter(Boolean)
  const nameOf = (path?: string): string => ['origin:', ...base, ...(path ? [path] : [])].join('/')
  const split = (path: string): { parents: string[]; name: string } => {
    const parts = [...base, ...path.split('/').filter(Boolean)]
    return { parents: parts.slice(0, -1), name: parts[parts.length - 1] }
  }
  // One write after another: two writers of one file would overwrite each other.
  let last: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(path: string, work: () => Promise<T>): Promise<T> => {
    const done = last.then(work).catch((error: Error) => {
      throw new Error(`${nameOf(path)}: cannot be written (${oneLine(error)})`, { cause: error })
    })
    last = done.catch(() => undefined)
    return done
  }
  const fileOf = async (path: string): Promise<File | undefined> => {
    const { parents, name } = split(path)
    const folder = await find(parents)
    const handle = folder && (await absent(folder.getFileHandle(name)))
    return handle?.getFile()
  }
  return {
    nameOf,
    readText: async (path) => (await fileOf(path))?.text(),
    readBytes: async (path) => {
      const file = await fileOf(path)
      return file && new Uint8Array(await file.arrayBuffer())
    },
    list: async (path) => namesIn(await find([...base, ...path.split('/').filter(Boolean)])),
    write: (path, data) =>
      inTurn(path, async () => {
        const { parents, name } = split(path)
        await writeFile(await make(parents), name, data)
      }),
    writeFolder: (path, fill) =>
      inTurn(path, async () => {
        const { parents, name } = split(path)
        await writeLinked(await make(parents), name, fill)
      }),
    append: (path, data) =>
      inTurn(path, async () => {
        const { parents, name } = split(path)
        await append(await (await make(parents)).getFileHandle(name, { create: true }), data)
      }),
    remove: (path) =>
      inTurn(path, async () => {
        const { parents, name } = split(path)
        const folder = await find(parents)
        if (folder) await remove(folder, name)
      }),
    lock: () => lock(base, nameOf()),
  }
}

/** The bytes of a text. The copy has a buffer of its own, as the types of browsers want it. */
const bytesOf = (data: string | Uint8Array): Uint8Array<ArrayBuffer> =>
  typeof data === 'string' ? new TextEncoder().encode(data) : new Uint8Array(data)

const oneLine = (error: Error): string => `${error.name}: ${error.message.replace(/\s+/g, ' ')}`

/** A handle, or undefined if there is nothing of this name and kind. */
async function absent<T>(handle: Promise<T>): Promise<T | undefined> {
  try {
    return await handle
  } catch (error) {
    if (['NotFoundError', 'TypeMismatchError'].includes((error as Error).name)) return undefined
    throw error
  }
}

async function root(): Promise<Folder> {
  // Absent on pages without https.
  const storage = navigator.storage as StorageManager | undefined
  if (!storage?.getDirectory)
    throw new Error('this browser offers no private file system here: serve the page over https or from localhost')
  return storage.getDirectory()
}

/** A folder by its parts; undefined if it does not exist. */
async function find(parts: readonly string[]): Promise<Folder | undefined> {
  let folder: Folder | undefined = await root()
  for (const name of parts) folder = folder && (await folderIn(folder, name))
  return folder
}

/** A folder by its parts, made where it is missing. */
async function make(parts: readonly string[]): Promise<Folder> {
  let folder = await root()
  for (const name of parts)
    folder = (await folderIn(folder, name)) ?? (await folder.getDirectoryHandle(name, { create: true }))
  return folder
}

async function folderIn(folder: Folder, name: string): Promise<Folder | undefined> {
  const target = await linked(folder, name)
  return absent(folder.getDirectoryHandle(target ?? name))
}

/** The name that a link holds; undefined if there is no link. */
async function linked(folder: Folder, name: string): Promise<string | undefined> {
  const handle = await absent(folder.getFileHandle(name + LINK))
  return handle && (await handle.getFile()).text()
}

async function namesIn(folder: Folder | undefined): Promise<string[]> {
  const names: string[] = []
  for await (const name of folder?.keys() ?? []) {
    if (name.endsWith(LINK)) names.push(name.slice(0, -LINK.length))
    else if (!name.includes('~')) names.push(name)
  }
  return names
}

async function writeFile(folder: Folder, name: string, data: string | Uint8Array): Promise<void> {
  const handle = await folder.getFileHandle(name, { create: true })
  const writable = await handle.createWritable()
  await writable.write(bytesOf(data))
  await writable.close()
}

async function writeLinked(parent: Folder, name: string, fill: (write: WriteInto) => Promise<void>): Promise<void> {
  const before = await linked(parent, name)
  const target = `${name}~${crypto.randomUUID()}`
  const folder = await parent.getDirectoryHandle(target, { create: true })
  try {
    await fill((file, data) => writeFile(folder, file, data))
    await writeFile(parent, name + LINK, target)
  } catch (error) {
    await absent(parent.removeEntry(target, { recursive: true }))
    throw error
  }
  await absent(parent.removeEntry(before ?? name, { recursive: true }))
}

async function remove(folder: Folder, name: string): Promise<void> {
  const target = await linked(folder, name)
  if (target !== undefined) await absent(folder.removeEntry(name + LINK))
  await absent(folder.removeEntry(target ?? name, { recursive: true }))
}

/** What workers offer for a file: writing without a copy of it. TypeScript has it in its types for workers only. */
interface WorkerFile {
  createSyncAccessHandle?(): Promise<{
    getSize(): number
    write(data: Uint8Array, options: { at: number }): number
    flush(): void
    close(): void
  }>
}

async function append(handle: FileSystemFileHandle, data: string | Uint8Array): Promise<void> {
  const direct = await (handle as WorkerFile).createSyncAccessHandle?.()
  if (direct) {
    try {
      direct.write(bytesOf(data), { at: direct.getSize() })
      direct.flush()
    } finally {
      direct.close()
    }
    return
  }
  const { size } = await handle.getFile()
  const writable = await handle.createWritable({ keepExistingData: true })
  await writable.write({ type: 'write', position: size, data: bytesOf(data) })
  await writable.close()
}

/** Locks a run for this page or worker, and removes what interrupted ones have left in it. */
async function lock(base: readonly string[], name: string): Promise<() => Promise<void>> {
  let release!: () => void
  const released = new Promise<void>((resolve) => (release = resolve))
  let ended!: Promise<unknown>
  const held = await new Promise<boolean>((resolve, reject) => {
    ended = navigator.locks
      .request(`webgpu-ssl ${base.join('/')}`, { ifAvailable: true }, (granted) => {
        resolve(granted !== null)
        return granted ? released : undefined
      })
      .catch(reject)
  })
  if (!held) throw new Error(`${name}: another tab of this browser trains this run: close it`)
  const folder = await find(base)
  if (folder) await sweep(folder)
  return async () => {
    release()
    await ended
  }
}

/** Removes folders to which no link leads. */
async function sweep(folder: Folder): Promise<void> {
  const entries: [string, FileSystemHandle][] = []
  for await (const entry of folder.entries()) entries.push(entry)
  for (const [name, handle] of entries) {
    if (handle.kind !== 'directory') continue
    const at = name.indexOf('~')
    if (at >= 0 && (await linked(folder, name.slice(0, at))) !== name)
      await folder.removeEntry(name, { recursive: true })
    else await sweep(handle as Folder)
  }
}
