// npm run kernel-names: writes the names of the files in shaders/ to engine/kernel_names.ts.
import { readdirSync, writeFileSync } from 'node:fs'

const shaders = new URL('../../shaders/', import.meta.url)
const names = readdirSync(shaders)
  .filter((file) => file.endsWith('.wgsl'))
  .map((file) => file.slice(0, -'.wgsl'.length))
  .sort()
const text = `// Written by \`npm run kernel-names\`: do not edit.

/** Every file in \`shaders/\`, without \`.wgsl\`. Browsers fetch these files because they cannot list a folder. */
export const kernelNames = [
${names.map((name) => `  '${name}',\n`).join('')}] as const
`
writeFileSync(new URL('../kernel_names.ts', import.meta.url), text)
