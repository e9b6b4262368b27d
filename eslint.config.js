/** Lint: the recommended rules, and the lines that the folders hold: shaders <- engine <- models <- train <- bench. */
import js from '@eslint/js'
import { builtinModules } from 'node:module'
import { globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

const rooms = ['engine', 'models', 'train', 'bench', 'test']
const builtins = `^(node:.*|(${builtinModules.filter((name) => /^[a-z]\w*$/.test(name)).join('|')})(/.*)?)$`

/** What a room may not import: the rooms after it and, where it must run in a browser, Node. */
function line(room, { browser = false } = {}) {
  const later = rooms.slice(rooms.indexOf(room) + 1)
  const forbidden = [
    { regex: `^(\\.\\./)+(${later.join('|')})/`, message: `${room}/ knows nothing of ${later.join('/, ')}/.` },
    { regex: builtins, message: `${room}/ runs in browsers: what needs Node lives in engine/node/.`, node: true },
    { regex: '(^|/)(engine/node|\\./node)/', message: `${room}/ runs in browsers: engine/node/ does not.`, node: true },
  ]
    .filter(({ node }) => browser || !node)
    .map(({ regex, message }) => ({ regex, message }))
  const syntax = forbidden.map(({ regex, message }) => ({
    selector: `ImportExpression > Literal[value=/${regex.replaceAll('/', '\\u002F')}/]`,
    message,
  }))
  return {
    files: [`${room}/**/*.{ts,mjs,js}`],
    ignores: browser ? ['engine/node/**'] : [],
    rules: {
      'no-restricted-imports': ['error', { patterns: forbidden }],
      'no-restricted-syntax': ['error', ...syntax],
      ...(browser && {
        'no-restricted-globals': ['error', 'process', 'Buffer', 'global', 'require', '__dirname', '__filename'],
      }),
    },
  }
}

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
  line('engine', { browser: true }),
  { ...line('engine'), files: ['engine/node/**'] },
  line('models', { browser: true }),
  line('train'),
  line('bench'),
)
