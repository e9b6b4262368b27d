/**
 * A step of `npm run build`: the modules that read texts from files become modules that hold the texts, so that the
 * package needs neither a file system nor a server for them.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { kernelTexts } from '../../engine/kernel_texts.js'
import { recipeTexts } from '../recipes/texts.js'

const modules = { 'engine/kernel_texts.js': { kernelTexts }, 'train/recipes/texts.js': { recipeTexts } }

for (const [path, constants] of Object.entries(modules)) {
  const compiled = new URL(`../../dist/${path}`, import.meta.url)
  if (!existsSync(compiled)) throw new Error(`dist/${path} is missing: compile first`)
  const lines = Object.entries(constants).map(
    ([name, texts]) => `export const ${name} = ${JSON.stringify(texts, null, 1)}`,
  )
  writeFileSync(compiled, `// Written by the build from the files themselves.\n${lines.join('\n')}\n`)
}
