/** `npm run licences`: writes `.github/licences.md`, the licences of all packages in package-lock.json. */
import { readFileSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { markdownTable } from '../../train/report/text.js'

export const list = new URL('../../.github/licences.md', import.meta.url)
const root = new URL('../../', import.meta.url)

/** An entry of package-lock.json; absent fields are false or unknown. */
export interface LockedPackage {
  /** Folder below the root, such as `node_modules/a`. */
  path: string
  name: string
  version: string
  integrity?: string
  resolved?: string
  license?: string
  dev?: boolean
  optional?: boolean
  hasInstallScript?: boolean
}

/** All packages of package-lock.json without this one. */
export function lockedPackages(): LockedPackage[] {
  const { packages } = JSON.parse(readFileSync(new URL('package-lock.json', root), 'utf8')) as {
    packages: Record<string, Omit<LockedPackage, 'path' | 'name'>>
  }
  return Object.entries(packages)
    .filter(([path]) => path !== '')
    .map(([path, found]) => ({ ...found, path, name: path.slice(path.lastIndexOf('node_modules/') + 13) }))
}

const sections: [string, (found: LockedPackage) => boolean][] = [
  ['What a user installs', ({ dev }) => !dev],
  ['Only for development', ({ dev }) => dev === true],
]

/** The list as Markdown: for each licence its packages, without versions. */
export function licenceList(packages: readonly LockedPackage[]): string {
  const parts = ['# Licences of the dependencies', 'Written by `npm run licences` from package-lock.json.']
  for (const [title, belongs] of sections) {
    const names = new Map<string, Set<string>>()
    for (const { name, license = 'unknown' } of packages.filter(belongs))
      names.set(license, (names.get(license) ?? new Set()).add(name))
    const rows = [...names]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([licence, of]) => [licence, String(of.size), [...of].sort().join(', ')])
    parts.push(`## ${title}`, markdownTable(['licence', 'packages', 'names'], rows))
  }
  return `${parts.join('\n\n')}\n`
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  writeFileSync(list, licenceList(lockedPackages()))
