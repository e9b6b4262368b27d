// A step of `npm run build`: modules that read texts from files become modules that hold the texts, so that the package
// needs no file system and no server for them. Node built-ins only.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

const root = new URL('../../', import.meta.url)

/** The modules: their paths without extension, the constant they export, and the files that it holds. */
const modules = [
  { path: 'engine/kernel_texts', constant: 'kernelTexts', folder: 'shaders/', extension: '.wgsl' },
  { path: 'train/recipes/texts', constant: 'recipeTexts', folder: 'train/recipes/', extension: '.yaml' },
]

for (const { path, constant, folder, extension } of modules) {
  const files = readdirSync(new URL(folder, root)).filter((file) => file.endsWith(extension))
  const lines = files
    .map((file) => file.slice(0, -extension.length))
    .sort()
    .map((name) => {
      const text = readFileSync(new URL(`${folder}${name}${extension}`, root), 'utf8')
      return `  ${JSON.stringify(name)}: ${JSON.stringify(text)},\n`
    })
  const compiled = new URL(`dist/${path}.js`, root)
  const exported = `export const ${constant} = `
  if (!readFileSync(compiled, 'utf8').includes(exported)) throw new Error(`${path}.ts does not export ${constant}`)
  writeFileSync(compiled, `// Written by the build from ${folder}*${extension}.\n${exported}{\n${lines.join('')}}\n`)
}
