/** A step of `npm run build`: it replaces the modules that read texts from files. */
import { existsSync, writeFileSync } from 'node:fs'
import { inlinedModules } from './inlined_modules.js'

for (const [path, source] of Object.entries(inlinedModules)) {
  const compiled = new URL(`../../dist/${path}`, import.meta.url)
  if (!existsSync(compiled)) throw new Error(`dist/${path} is missing: compile first`)
  writeFileSync(compiled, source)
}
