import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { root } from './imports.js'

/** What `npm run cycles` says of a tree of files, given as text by path. */
function cycles(files: Record<string, string>): { status: number | null; output: string } {
  const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-cycles-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  const command = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs')
  const args = [command, '--config', join(root, '.dependency-cruiser.mjs'), ...new Set(Object.keys(files).map(topOf))]
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
  return { status, output: `${stdout}${stderr}` }
}

const topOf = (path: string): string => path.split('/')[0]

test('cycles of values are errors: static, dynamic, re-exported, and through an allowed pair', () => {
  const { status, output } = cycles({
    'engine/a.ts': `import { b } from './b.js'\nexport const a = (): number => b()`,
    'engine/b.ts': `import { a, type A } from './a.js'\nexport const b = (): number => a() as A`,
    'train/c.ts': `export const c = () => import('./d.js')`,
    'train/d.ts': `export { c } from './c.js'`,
    'engine/ops/elementwise.ts': `import { sum } from './reduce.js'\nexport const add = () => sum()`,
    'engine/ops/reduce.ts': `import { cast } from './cast.js'\nexport const sum = () => cast()`,
    'engine/ops/cast.ts': `import { add } from './elementwise.js'\nexport const cast = () => add()`,
  })
  expect(status).not.toBe(0)
  for (const file of ['engine/a.ts', 'engine/b.ts', 'train/c.ts', 'train/d.ts', 'engine/ops/cast.ts'])
    expect(output).toContain(file)
})

test('types may refer to each other, and so may elementwise and reduce', () => {
  const { status, output } = cycles({
    'engine/a.ts': `import type { B } from './b.js'\nexport interface A { b: B }\nexport const a = 1`,
    'engine/b.ts': `import { type A } from './a.js'\nexport interface B { a: A }\nexport const b = 1`,
    'train/c.ts': `export type { D } from './d.js'\nexport const c = 1`,
    'train/d.ts': `import { c } from './c.js'\nexport type D = typeof c\nexport const d = c`,
    'engine/ops/elementwise.ts': `import { sum } from './reduce.js'\nexport const add = () => sum()`,
    'engine/ops/reduce.ts': `import { add } from './elementwise.js'\nexport const sum = () => add()`,
  })
  expect(output).toContain('no dependency violations found')
  expect(status).toBe(0)
})
