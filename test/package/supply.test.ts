/** What others' packages may bring in: pinned content, known licences, no install scripts. */
import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { licenceList, list, lockedPackages, type LockedPackage } from './licences.js'

const root = new URL('../../', import.meta.url)
const packages = lockedPackages()
const namesOf = (found: readonly LockedPackage[]): string[] => found.map(({ name, license }) => `${name}: ${license}`)

test('package-lock.json pins the content of every package by sha512, and names no registry', () => {
  expect(packages.length).toBeGreaterThan(100)
  expect(packages.filter(({ integrity }) => !/^sha512-[\w+/]{86}==$/.test(integrity ?? ''))).toEqual([])
  expect(packages.filter(({ resolved }) => resolved !== undefined)).toEqual([])
  expect(readFileSync(new URL('package-lock.json', root), 'utf8')).not.toMatch(/"resolved"|\.tgz"/)
})

/** A package may be used under one of these; a licence `A AND B` needs both. */
const PERMISSIVE = ['0BSD', 'Apache-2.0', 'BlueOak-1.0.0', 'BSD-2-Clause', 'BSD-3-Clause', 'CC0-1.0', 'ISC', 'MIT', 'Unlicense'] // prettier-ignore
const ALSO: [RegExp, string, string][] = [
  [/^@img\/sharp-/, 'LGPL-3.0-or-later', 'libvips, a library of its own that sharp loads'],
  [/^spdx-exceptions$/, 'CC-BY-3.0', 'a list of names'],
  [/^lightningcss/, 'MPL-2.0', 'only for development, and unchanged'],
  [/^caniuse-lite$/, 'CC-BY-4.0', 'a table of browsers, only for development'],
]
const isAllowed = ({ name, license = '' }: LockedPackage): boolean =>
  license
    .split(' AND ')
    .every((one) => PERMISSIVE.includes(one) || ALSO.some(([of, also]) => of.test(name) && one === also))

test('every package has a licence that is allowed', () => {
  expect(namesOf(packages.filter((found) => !isAllowed(found)))).toEqual([])
  expect(packages.filter(({ name, dev }) => /^(lightningcss|caniuse-lite)/.test(name) && !dev)).toEqual([])
})

test('package-lock.json states the licence that each installed package states itself', () => {
  let compared = 0
  for (const { path, name, license } of packages) {
    const file = new URL(`${path}/package.json`, root)
    if (!existsSync(file)) continue
    const own = (JSON.parse(readFileSync(file, 'utf8')) as { license?: unknown }).license
    if (typeof own !== 'string') continue
    compared++
    expect(own, name).toBe(license)
  }
  expect(compared).toBeGreaterThan(100)
})

test('.github/licences.md lists all of them; `npm run licences` writes it again', () => {
  expect(readFileSync(list, 'utf8'), 'out of date: run `npm run licences`').toBe(licenceList(packages))
})

test('no install script is needed: the known ones are not run by the launcher and by .ci/run', () => {
  // esbuild's checks its program, webgpu's lifts a quarantine of macOS, fsevents' builds what it also ships, and
  // protobufjs' prints a warning about versions.
  const known = ['esbuild', 'fsevents', 'koffi', 'protobufjs', 'webgpu']
  const scripts = packages.filter(({ hasInstallScript }) => hasInstallScript).map(({ name }) => name)
  expect(scripts.filter((name) => !known.includes(name))).toEqual([])
  for (const file of ['engine/node/launch.mjs', '.ci/run', '.github/workflows/ci.yml']) {
    const installs = [...readFileSync(new URL(file, root), 'utf8').matchAll(/\bnpm ci\b(?! failed|,).*|'ci',.*/g)]
    for (const [line] of installs) expect(line, file).toContain('--ignore-scripts')
    expect(installs, file).not.toHaveLength(0)
  }
  const { scripts: own } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { scripts: object }
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) expect(own).not.toHaveProperty(name)
})
