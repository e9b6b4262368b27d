/** The modules that read texts from files, as modules that hold the texts: what is built needs neither files nor a server. */
import { kernelTexts } from '../../engine/kernel_texts.js'
import { recipeTexts } from '../recipes/texts.js'

const modules = { 'engine/kernel_texts.js': { kernelTexts }, 'train/recipes/texts.js': { recipeTexts } }

/** Their sources by path. */
export const inlinedModules: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(modules).map(([path, constants]) => {
    const lines = Object.entries(constants).map(
      ([name, texts]) => `export const ${name} = ${JSON.stringify(texts, null, 1)}`,
    )
    return [path, `// Written by the build from the files themselves.\n${lines.join('\n')}\n`]
  }),
)
