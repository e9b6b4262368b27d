/** Lint: the recommended rules, and which rooms may import which: shaders <- engine <- models <- train <- bench. */
import js from '@eslint/js'
import { builtinModules } from 'node:module'
import { globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

const folders = ['engine', 'models', 'train', 'bench', 'test']
/** Folders that run in browsers, each with its rooms that need Node. */
const nodeRooms = { engine: ['engine/node'], models: [], train: ['train/node', 'train/cli'] }
/** Modules that read files with Node; the build replaces them by modules that hold the texts. */
const inlined = ['engine/kernel_texts.ts', 'train/recipes/texts.ts']
/** Rooms of bench/ that do not know each other. What they share lives in another room of bench/. */
const measurements = ['speed', 'paper', 'sweep']

const builtins = builtinModules.filter((name) => /^[a-z]\w*$/.test(name))
const nodePackages = ['cli-progress', 'commander', 'sharp', 'tar', 'tsx', 'webgpu']
const nodeGlobals = [
  'process',
  'Buffer',
  'global',
  'require',
  '__dirname',
  '__filename',
  'setImmediate',
  'clearImmediate',
]

/** Folders that come after this one may import it, not the other way round. */
function laterFolders(folder) {
  const later = folders.slice(folders.indexOf(folder) + 1)
  return {
    regex: `^(\\.\\./)+(${later.join('|')})/`,
    message: `${folder}/ must not import from ${later.map((name) => `${name}/`).join(', ')}.`,
  }
}

/** Code for browsers uses no module, package or room that needs Node. */
function nodeOnly(folder) {
  const message = `${folder}/ runs in browsers. Code that needs Node belongs in ${nodeRooms[folder].join('/ or ') || 'engine/node'}/.`
  return [
    { regex: `^(node:.*|(${builtins.join('|')})(/.*)?)$`, message },
    { regex: `^(${nodePackages.join('|')})(/.*)?$`, message },
    { regex: '^(\\.\\.?/)+((engine|train)/)?(node|cli)/', message },
  ]
}

/** The rule set of files that must not import certain modules, neither statically nor by `import()`. */
function restrict(files, forbidden, { ignores = [], globals = [] } = {}) {
  const dynamic = forbidden.map(({ regex, message }) => ({
    selector: `ImportExpression > Literal[value=/${regex.replaceAll('/', '\\u002F')}/]`,
    message,
  }))
  return {
    files,
    ignores,
    rules: {
      'no-restricted-imports': ['error', { patterns: forbidden }],
      'no-restricted-syntax': ['error', ...dynamic],
      ...(globals.length && { 'no-restricted-globals': ['error', ...globals] }),
    },
  }
}

const code = (folder) => `${folder}/**/*.{ts,mjs,js}`
const commands = { regex: '/cli\\.js$', message: 'A command is run, not imported.' }
const measurementRooms = (rooms) => ({
  regex: `^(\\.\\./)+(bench/)?(${rooms.join('|')})/|^\\./(${rooms.join('|')})/`,
  message: 'The rooms of bench/ import what they share, not each other.',
})

export default tseslint.config(
  globalIgnores(['dist/', 'runs/', 'bench/.scratch/']),
  js.configs.recommended,
  tseslint.configs.recommended,
  {
    rules: {
      // TypeScript sees undefined names, those of Node and WebGPU included.
      'no-undef': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // A package's types reach its users only by such a reference.
      '@typescript-eslint/triple-slash-reference': ['error', { types: 'always' }],
    },
  },
  // Of two entries for one file the later counts.
  ...Object.entries(nodeRooms).flatMap(([folder, rooms]) => [
    restrict([code(folder)], [laterFolders(folder), ...nodeOnly(folder)], {
      ignores: [...rooms.map((room) => `${room}/**`), ...inlined],
      globals: nodeGlobals,
    }),
    ...rooms.map((room) => restrict([code(room)], [laterFolders(folder)])),
  ]),
  restrict(
    [code('train/node')],
    [laterFolders('train'), { regex: '^(\\.\\.?/)+(train/)?cli/', message: 'train/node/ must not import train/cli/.' }],
  ),
  restrict([code('bench')], [laterFolders('bench'), commands, measurementRooms(measurements)]),
  ...measurements.map((room) =>
    restrict(
      [code(`bench/${room}`)],
      [laterFolders('bench'), commands, measurementRooms(measurements.filter((other) => other !== room))],
    ),
  ),
  restrict([code('test')], [commands]),
)
