/** Folders of text files, for the modules whose texts the build inlines (train/node/inline_texts.ts). */
import { readdirSync, readFileSync } from 'node:fs'

/** The texts of the files of a folder with this extension, by name without it, in the order of the names. */
export function readTexts(folder: URL, extension: string): Record<string, string> {
  const files = readdirSync(folder).filter((file) => file.endsWith(extension))
  const names = files.map((file) => file.slice(0, -extension.length)).sort()
  return Object.fromEntries(names.map((name) => [name, readFileSync(new URL(name + extension, folder), 'utf8')]))
}
