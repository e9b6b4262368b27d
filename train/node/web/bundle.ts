/**
 * Bundles the page of `npm run web`: scripts, worker and style. As a script it is a step of `npm run build`, which puts
 * the result into the package; in a clone `npm run web` bundles at its start.
 */
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type Plugin } from 'esbuild'
import { inlinedModules } from '../inlined_modules.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/** Gives the modules of texts with their texts. */
const texts: Plugin = {
  name: 'texts',
  setup({ onLoad }) {
    for (const [module, contents] of Object.entries(inlinedModules)) {
      const file = join(root, module.replace(/\.js$/, '.ts'))
      onLoad({ filter: /texts\.ts$/ }, ({ path }) => (path === file ? { contents, loader: 'js' } : undefined))
    }
  },
}

/** The bundled files by name: page.js, worker.js, page.css. */
export async function bundlePage(): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const { outputFiles } = await build({
    entryPoints: { page: join(root, 'train/web/page/main.ts'), worker: join(root, 'train/web/worker/worker.ts') },
    outdir: root,
    plugins: [texts],
    ...{ bundle: true, format: 'esm', platform: 'browser', target: 'es2022', write: false, minify: true },
    ...{ legalComments: 'eof', logLevel: 'silent' },
  })
  return new Map(outputFiles.map(({ path, contents }) => [basename(path), Uint8Array.from(contents)]))
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const folder = join(root, 'dist/train/web/page')
  mkdirSync(folder, { recursive: true })
  for (const [name, contents] of await bundlePage()) writeFileSync(join(folder, name), contents)
}
