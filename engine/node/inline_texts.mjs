// Modules that read texts from files, as modules that hold the texts: bundles and the built package need no file system
// and no server for them. Run as a script, it is a step of `npm run build`. Node built-ins only.
import { readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = new URL('../../', import.meta.url)

/** The modules: their paths without extension, the constant they export, and the files that it holds. */
export const modules = [
  { path: 'engine/kernel_texts', constant: 'kernelTexts', folder: 'shaders/', extension: '.wgsl' },
  { path: 'train/recipes/texts', constant: 'recipeTexts', folder: 'train/recipes/', extension: '.yaml' },
]

/** The source of a module with its texts.
 * @param {(typeof modules)[number]} module */
export function inlined({ constant, folder, extension }) {
  const lines = readdirSync(new URL(folder, root))
    .filter((file) => file.endsWith(extension))
    .map((file) => file.slice(0, -extension.length))
    .sort()
    .map((name) => {
      const text = readFileSync(new URL(`${folder}${name}${extension}`, root), 'utf8')
      return `  ${JSON.stringify(name)}: ${JSON.stringify(text)},\n`
    })
  return `// Written by the build from ${folder}*${extension}.\nexport const ${constant} = {\n${lines.join('')}}\n`
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
  for (const module of modules) {
    const compiled = new URL(`dist/${module.path}.js`, root)
    if (!readFileSync(compiled, 'utf8').includes(`export const ${module.constant} = `))
      throw new Error(`${module.path}.ts does not export ${module.constant}`)
    writeFileSync(compiled, inlined(module))
  }
