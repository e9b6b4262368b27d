/** Where pictures come from: the sample, files, folders that are dropped or chosen. */
import type { PictureFile } from '../protocol.js'
import { find } from './dom.js'

export interface SourceEvents {
  onSample(): void
  onFiles(files: PictureFile[]): void
}

export function listenForPictures({ onSample, onFiles }: SourceEvents): void {
  const drop = find('drop')
  find('sample').addEventListener('click', onSample)
  for (const id of ['folder', 'files']) {
    const input = find<HTMLInputElement>(id)
    input.addEventListener('change', () => {
      const files = [...(input.files ?? [])].map((file) => ({ file, path: file.webkitRelativePath || file.name }))
      // The same folder may be chosen again.
      input.value = ''
      if (files.length) onFiles(files)
    })
  }
  // The whole page takes the drop: the browser would otherwise open the picture.
  document.addEventListener('dragover', (event) => {
    event.preventDefault()
    drop.classList.add('over')
  })
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) drop.classList.remove('over')
  })
  document.addEventListener('drop', (event) => {
    event.preventDefault()
    drop.classList.remove('over')
    if (find<HTMLButtonElement>('sample').disabled) return
    const entries = [...(event.dataTransfer?.items ?? [])].flatMap((item) => item.webkitGetAsEntry() ?? [])
    void Promise.all(entries.map((entry) => filesOf(entry))).then((files) => {
      if (files.flat().length) onFiles(files.flat())
    })
  })
}

/** The files of an entry, with those of its folders. */
async function filesOf(entry: FileSystemEntry): Promise<PictureFile[]> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))
    return [{ file, path: entry.fullPath.replace(/^\//, '') }]
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  const files: PictureFile[][] = []
  for (;;) {
    // A reader gives some entries at a time, and none at the end.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (some.length === 0) return files.flat()
    files.push(...(await Promise.all(some.map((inner) => filesOf(inner)))))
  }
}
