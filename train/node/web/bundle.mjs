// Bundles the page of `npm run web`: scripts, worker and style. `npm run build` puts the result into the package; in a
// clone `npm run web` bundles at its start.
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { inlined, modules } from '../../../engine/node/inline_texts.mjs'

const root = new URL('../../../', import.meta.url)
const at = (/** @type {string} */ path) => fileURLToPath(new URL(path, root))

/** Gives the modules of texts with their texts.
 * @type {import('esbuild').Plugin} */
const texts = {
  name: 'texts',
  setup(bundle) {
    for (const module of modules) {
      const file = at(`${module.path}.ts`)
      const filter = new RegExp(`[/\\\\]${basename(file).replace('.', '\\.')}$`)
      bundle.onLoad({ filter }, ({ path }) => (path === file ? { contents: inlined(module), loader: 'js' } : undefined))
    }
  },
}

/** The bundled files by name: page.js, worker.js, page.css.
 * @returns {Promise<Map<string, Uint8Array<ArrayBuffer>>>} */
export async function bundlePage() {
  const { outputFiles } = await build({
    entryPoints: { page: at('train/web/page/main.ts'), worker: at('train/web/worker/worker.ts') },
    outdir: at('dist/train/web/page'),
    plugins: [texts],
    ...{ bundle: true, format: 'esm', platform: 'browser', target: 'es2022', write: false, minify: true },
    ...{ legalComments: 'eof', logLevel: 'silent' },
  })
  return new Map(outputFiles.map(({ path, contents }) => [basename(path), Uint8Array.from(contents)]))
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const folder = at('dist/train/web/page/')
  mkdirSync(folder, { recursive: true })
  for (const [name, contents] of await bundlePage()) writeFileSync(join(folder, name), contents)
}
