/** Mistakes in kernels. Their places are found in the text, because all kernels are written in one style. */
import type { Change } from './mutant.js'

const blank = (text: string): string => text.replace(/[^\n]/g, ' ')

/**
 * The code of functions and constants, with everything else blank. Places stay where they are. The defaults of the
 * `@specialize` block are blank too, because lowering replaces them, and so are the steps of loops: with a smaller step
 * most kernels do the same work twice, and without a step they do not end.
 */
export function codeOf(source: string): string {
  return source
    .replace(/^\/\/ @specialize$[^]*?^\/\/ @end$/m, blank)
    .replace(/^struct \w+ \{[^]*?\}/gm, blank)
    .replace(/\/\/.*$/gm, blank)
    .replace(/\/\* @snippet .*$/gm, blank)
    .replace(/@end \*\//g, blank)
    .replace(/\/\*[^]*?\*\//g, blank)
    .replace(/^(enable|alias|struct|@group|@id|override)\b.*$/gm, blank)
    .replace(/@compute[^]*?\) \{$/gm, blank)
    .replace(/\bfn \w+\([^]*?\{/g, blank)
    .replace(/^var<workgroup>.*$|^var<private>.*$/gm, blank)
    .replace(/\b(?:var|let) \w+ *:[^=;]*/g, blank)
    .replace(/\barray<(?:[^<>]|<[^<>]*>)*>/g, blank)
    .replace(/\b(?:bitcast|ptr|vec[234])<[^<>]*>/g, blank)
    .replace(/\b(?:subgroupMatrix\w+)<[^<>]*>/g, blank)
    .replace(/(\bfor \([^;{]*;[^;{]*;)([^{]*)(?=\) \{)/g, (_, head: string, step: string) => head + blank(step))
}

const OPERATORS: Readonly<Record<string, readonly [kind: string, text: string]>> = {
  '+': ['sign', '-'],
  '-': ['sign', '+'],
  '*': ['operator', '/'],
  '/': ['operator', '*'],
  '%': ['operator', '/'],
  '<': ['bound', '<='],
  '<=': ['bound', '<'],
  '>': ['bound', '>='],
  '>=': ['bound', '>'],
  '==': ['condition', '!='],
  '!=': ['condition', '=='],
  '&&': ['condition', '||'],
  '||': ['condition', '&&'],
  '<<': ['operator', '>>'],
  '>>': ['operator', '<<'],
  '&': ['operator', '|'],
  '|': ['operator', '&'],
  '^': ['operator', '|'],
  '+=': ['dropped sum', '='],
  '-=': ['sign', '+='],
  '*=': ['dropped factor', '='],
}

const CALLS: Readonly<Record<string, string>> = {
  min: 'max',
  max: 'min',
  inverseSqrt: 'sqrt',
  sqrt: 'abs',
  exp: 'exp2',
  log: 'log2',
  abs: '',
  floor: 'ceil',
  ceil: 'floor',
  round: 'floor',
  cos: 'sin',
  sin: 'cos',
  tanh: 'sinh',
  subgroupAdd: 'subgroupMax',
  subgroupMax: 'subgroupMin',
  dot: 'distance',
}

/** Names of params and variables that are easily confused. */
const NAMES: readonly (readonly [RegExp, string])[] = [
  [/height/, 'width'],
  [/width/, 'height'],
  [/_y$/, '_x'],
  [/_x$/, '_y'],
  [/^in_/, 'out_'],
  [/^out_/, 'in_'],
  [/^row$/, 'column'],
  [/^column$/, 'row'],
  [/^rows/, 'columns'],
  [/^columns/, 'rows'],
  [/^[ab]$/, 'ba'],
  [/^[ij]$/, 'ji'],
  [/^[hw]$/, 'wh'],
  [/^[tu]$/, 'ut'],
]

/** The end of the operand that begins at a place: the next operator, comma or bracket at the same depth. */
function operandEnd(code: string, from: number): number {
  let depth = 0
  for (let i = from; i < code.length; i++) {
    if ('([{'.includes(code[i])) depth++
    else if (')]}'.includes(code[i]) && depth-- === 0) return i
    else if (depth === 0 && (';,'.includes(code[i]) || /^ (?:[-+<>=!&|^]|\?)/.test(code.slice(i, i + 3)))) return i
  }
  return code.length
}

/** The arguments of the call whose bracket opens at a place. */
function argumentsAt(code: string, open: number): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = []
  let [depth, start] = [0, open + 1]
  for (let i = open + 1; i < code.length; i++) {
    if ('([{'.includes(code[i])) depth++
    else if (depth === 0 && (code[i] === ',' || code[i] === ')')) {
      found.push({ start, end: i })
      start = i + 1
      if (code[i] === ')') break
    } else if (')]}'.includes(code[i])) depth--
  }
  return found
}

/** What could be wrong with a number: off by one, or another factor. */
function otherNumber(number: string): string {
  if (/^0x/.test(number)) return number
  if (/^\d+[ui]?$/.test(number)) return `${parseInt(number) + 1}${/[ui]$/.exec(number)?.[0] ?? ''}`
  const value = parseFloat(number)
  return value === 0 ? '1.0' : String(2 * value).replace(/^(-?\d+)$/, '$1.0')
}

export function changesOfKernel(source: string): Change[] {
  const code = codeOf(source)
  const changes: Change[] = []
  const add = (kind: string, start: number, end: number, text: string): void => {
    if (source.slice(start, end) !== text) changes.push({ kind, start, end, text })
  }
  for (const { 1: operator, index } of code.matchAll(/ ([-+*/%<>=!&|^]+) /g)) {
    const [start, end] = [index + 1, index + 1 + operator.length]
    if (Object.hasOwn(OPERATORS, operator)) add(OPERATORS[operator][0], start, end, OPERATORS[operator][1])
    if (operator === '+') add('dropped term', index, operandEnd(code, end + 1), '')
  }
  for (const { 0: barrier, index } of code.matchAll(/\b\w+Barrier\(\);/g))
    add('missing barrier', index, index + barrier.length, '')
  for (const { 0: number, index } of code.matchAll(/(?<![\w.])\d[\w.]*(?:e-\d+)?/g))
    add('constant', index, index + number.length, otherNumber(number))
  for (const { 1: name, index } of code.matchAll(/\b(\w+)(?=\()/g)) {
    if (Object.hasOwn(CALLS, name)) add('function', index, index + name.length, CALLS[name])
    const given = argumentsAt(code, index + name.length)
    if (name === 'select' && given.length === 3) {
      const [no, yes] = given.map(({ start, end }) => source.slice(start, end).trim())
      add('swapped operands', given[0].start, given[1].end, `${yes}, ${no}`)
    }
    if (name === 'fma' && given.length === 3)
      add('dropped sum', given[2].start, given[2].end, ` 0.0 * (${source.slice(given[2].start, given[2].end).trim()})`)
  }
  for (const { 1: name, index } of code.matchAll(/(?<=[\w\])])\[([a-z]\w*)\]/g))
    add('index', index + 1, index + 1 + name.length, `${name} + 1u`)
  for (const { 0: part, index } of code.matchAll(/(?<=[\w\])])\.[xyzw]\b/g))
    add('swapped axis', index, index + 2, { '.x': '.y', '.y': '.x', '.z': '.w', '.w': '.z' }[part]!)
  for (const { 0: minus, index } of code.matchAll(/(?<=[(,=*] ?|return )-(?=[\w(])/g))
    add('sign', index, index + minus.length, '')
  for (const { 0: operands, 1: left, 2: operator, 3: right, index } of code.matchAll(
    /(?<=[(=,] ?|return )([\w.]+(?:\[[\w.]+\])?) ([-/%]) ([\w.]+(?:\[[\w.]+\])?)(?=[;),])/g,
  ))
    add('swapped operands', index, index + operands.length, `${right} ${operator} ${left}`)
  for (const { index } of code.matchAll(/\bif \(/g)) {
    const [condition] = argumentsAt(code, index + 3)
    add('condition', condition.start, condition.end, `!(${source.slice(condition.start, condition.end)})`)
  }
  for (const { 0: bound, index } of code.matchAll(/\bif \([^{}]*\) \{ (?:continue|return|break)\b[^{}]*; \}/g))
    add('dropped bound', index, index + bound.length, '')
  for (const { 0: store, index } of code.matchAll(/\b\w+\[[^;={}]*\](?:\.\w+)? [-+*]?= [^;{}]*;/g))
    add('dropped store', index, index + store.length, '')
  return [...changes, ...confusions(source, code)].map((change) => ({
    ...change,
    within: functionAt(source, change.start),
  }))
}

/** A name instead of another of the same kind that the kernel has too. */
function confusions(source: string, code: string): Change[] {
  const known = new Set(source.match(/\b[a-z]\w*/g))
  const changes: Change[] = []
  for (const { 0: name, index } of code.matchAll(/\b[a-z]\w*\b(?!\()/g))
    for (const [pattern, other] of NAMES) {
      if (!pattern.test(name)) continue
      const text = other.length === 2 ? [...other].find((letter) => letter !== name)! : name.replace(pattern, other)
      const declares = /\b(let|var|alias|struct) $/.test(source.slice(0, index)) || source[index - 1] === '&'
      if (known.has(text) && !declares)
        changes.push({ kind: 'swapped names', start: index, end: index + name.length, text })
    }
  return changes
}

function functionAt(source: string, place: number): string | undefined {
  return [...source.slice(0, place).matchAll(/^fn (\w+)/gm)].at(-1)?.[1]
}
