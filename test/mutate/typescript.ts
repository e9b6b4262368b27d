/** Mistakes in TypeScript that computes: gradients, lowering, objectives, optimisers. */
import ts from 'typescript'
import type { Change } from './mutant.js'

const OPERATORS: Readonly<Record<string, readonly [kind: string, text: string]>> = {
  '+': ['sign', '-'],
  '-': ['sign', '+'],
  '*': ['operator', '/'],
  '/': ['operator', '*'],
  '%': ['operator', '/'],
  '**': ['operator', '*'],
  '<': ['bound', '<='],
  '<=': ['bound', '<'],
  '>': ['bound', '>='],
  '>=': ['bound', '>'],
  '===': ['condition', '!=='],
  '!==': ['condition', '==='],
  '&&': ['condition', '||'],
  '||': ['condition', '&&'],
  '+=': ['dropped sum', '='],
  '-=': ['sign', '+='],
  '*=': ['dropped factor', '='],
}

/** Functions of graph values and of Math, with one that is easily taken instead. */
const CALLS: Readonly<Record<string, string>> = {
  add: 'subtract',
  subtract: 'add',
  multiply: 'divide',
  divide: 'multiply',
  sum: 'mean',
  mean: 'sum',
  'Math.min': 'Math.max',
  'Math.max': 'Math.min',
  'Math.ceil': 'Math.floor',
  'Math.floor': 'Math.ceil',
  'Math.sqrt': 'Math.cbrt',
  'Math.cos': 'Math.sin',
  'Math.exp': 'Math.expm1',
}

/** Functions of one value that may be forgotten. */
const DROPPED = [
  'negate',
  'square',
  'sqrt',
  'relu',
  'exp',
  'log',
  'reciprocal',
  'normalizeRows',
  'scale',
  'affine',
  'transpose',
]
/** Functions of two values whose order counts. */
const ORDERED = ['subtract', 'divide', 'matmul', 'crossCorrelation']

/** Functions that only estimate time, or only name things for people. */
const ESTIMATES = /^(cost|estimate|describe|label|name|say|says|show)$|(Cost|Seconds|Estimate)$/

const isText = (node: ts.Node): boolean =>
  ts.isStringLiteralLike(node) ||
  ts.isTemplateExpression(node) ||
  (ts.isParenthesizedExpression(node) && isText(node.expression))

/** Checks of arguments: `if (…) throw`, and calls such as `checkShape(…)`. Their messages have tests of their own. */
function checksOnly(node: ts.Node): boolean {
  if (ts.isThrowStatement(node) || ts.isTemplateExpression(node) || ts.isImportDeclaration(node)) return true
  if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return true
  if (ts.isCallExpression(node)) return /^(check|require|expect)[A-Z]/.test(node.expression.getText())
  if (ts.isFunctionDeclaration(node) && /^check[A-Z]/.test(node.name?.text ?? '')) return true
  if (!ts.isIfStatement(node)) return false
  const then = ts.isBlock(node.thenStatement) ? node.thenStatement.statements.at(-1) : node.thenStatement
  return then !== undefined && ts.isThrowStatement(then) && node.elseStatement === undefined
}

function nameOf(node: ts.Node): string | undefined {
  const isFunction =
    ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node) || ts.isGetAccessor(node) || ts.isSetAccessor(node)
  if (isFunction) return node.name?.getText()
  if (!ts.isArrowFunction(node) && !ts.isFunctionExpression(node)) return undefined
  const { parent } = node
  const named = ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent) || ts.isPropertyDeclaration(parent)
  return named ? parent.name.getText() : undefined
}

/** @param path of the file, for its syntax only */
export function changesOfTypeScript(path: string, source: string): Change[] {
  const file = ts.createSourceFile(path, source, ts.ScriptTarget.ES2022, true)
  const changes: Change[] = []
  const visit = (node: ts.Node, within: string | undefined): void => {
    const name = nameOf(node)
    if (checksOnly(node) || (name !== undefined && ESTIMATES.test(name))) return
    const add = (kind: string, { start, end }: { start: number; end: number }, text: string): void => {
      if (source.slice(start, end) !== text) changes.push({ kind, start, end, text, within: name ?? within })
    }
    for (const [kind, place, text] of mistakesAt(node, name ?? within))
      add(kind, { start: place.getStart(), end: place.getEnd() }, text)
    ts.forEachChild(node, (child) => visit(child, name ?? within))
  }
  visit(file, undefined)
  return changes
}

/** The source with a call of `mutateCalled('path#name')` at the beginning of each function that has a name. */
export function callsRecorded(path: string, source: string): string {
  const file = ts.createSourceFile(path, source, ts.ScriptTarget.ES2022, true)
  const inserted: { at: number; text: string }[] = []
  const visit = (node: ts.Node): void => {
    const name = nameOf(node)
    const { body } = node as Partial<ts.FunctionLikeDeclaration>
    if (name && body) {
      const call = `globalThis.mutateCalled?.(${JSON.stringify(`${path}#${name}`)})`
      if (ts.isBlock(body)) inserted.push({ at: body.getStart() + 1, text: `${call};` })
      else inserted.push({ at: body.getStart(), text: `(${call},` }, { at: body.getEnd(), text: ')' })
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  inserted.sort((a, b) => b.at - a.at)
  return inserted.reduce((text, { at, text: call }) => text.slice(0, at) + call + text.slice(at), source)
}

type Mistake = [kind: string, place: ts.Node, text: string]

function mistakesAt(node: ts.Node, within: string | undefined): Mistake[] {
  if (ts.isBinaryExpression(node)) return mistakesOfBinary(node)
  if (ts.isNumericLiteral(node)) {
    const value = Number(node.text)
    return [['constant', node, String(Number.isInteger(value) ? value + 1 : 2 * value)]]
  }
  if (ts.isConditionalExpression(node)) {
    const { condition, whenTrue, whenFalse } = node
    if (isText(whenTrue) || isText(whenFalse)) return []
    return [['swapped operands', node, `${condition.getText()} ? ${whenFalse.getText()} : ${whenTrue.getText()}`]]
  }
  if (ts.isPrefixUnaryExpression(node)) {
    if (node.operator === ts.SyntaxKind.MinusToken) return [['sign', node, node.operand.getText()]]
    if (node.operator === ts.SyntaxKind.ExclamationToken) return [['condition', node, node.operand.getText()]]
  }
  if (node.kind === ts.SyntaxKind.TrueKeyword) return [['flag', node, 'false']]
  if (node.kind === ts.SyntaxKind.FalseKeyword) return [['flag', node, 'true']]
  if (ts.isCallExpression(node)) return mistakesOfCall(node)
  if (ts.isPropertyAccessExpression(node)) {
    const other = { height: 'width', width: 'height', y: 'x', x: 'y' }[node.name.text]
    return other ? [['swapped names', node.name, other]] : []
  }
  if (ts.isArrayLiteralExpression(node) && within === 'gradient' && !node.elements.some(ts.isSpreadElement)) {
    const isResult = ts.isArrowFunction(node.parent) || ts.isReturnStatement(node.parent)
    return isResult ? node.elements.map((element): Mistake => ['dropped gradient', element, 'undefined']) : []
  }
  if (ts.isIfStatement(node)) return [['condition', node.expression, `!(${node.expression.getText()})`]]
  return []
}

function mistakesOfBinary(node: ts.BinaryExpression): Mistake[] {
  const { left, operatorToken, right } = node
  const operator = operatorToken.getText()
  if (!Object.hasOwn(OPERATORS, operator) || isText(left) || isText(right)) return []
  const found: Mistake[] = [[OPERATORS[operator][0], operatorToken, OPERATORS[operator][1]]]
  if (operator === '+') found.push(['dropped term', node, left.getText()])
  if (operator === '-' || operator === '/')
    found.push(['swapped operands', node, `(${right.getText()}) ${operator} (${left.getText()})`])
  return found
}

function mistakesOfCall(node: ts.CallExpression): Mistake[] {
  const callee = node.expression.getText()
  const [first, second] = node.arguments
  const found: Mistake[] = []
  if (Object.hasOwn(CALLS, callee)) {
    const other = CALLS[callee]
    // Only what the file imports: a ReferenceError is no mistake that anybody commits.
    const known = other.startsWith('Math.') || new RegExp(`\\b${other}\\b`).test(node.getSourceFile().text)
    if (known) found.push(['function', node.expression, other])
  }
  if (DROPPED.includes(callee) && first) found.push(['dropped factor', node, first.getText()])
  if (ORDERED.includes(callee) && first && second && !ts.isObjectLiteralExpression(second)) {
    const rest = node.arguments.slice(2).map((argument) => `, ${argument.getText()}`)
    found.push(['swapped operands', node, `${callee}(${second.getText()}, ${first.getText()}${rest.join('')})`])
  }
  return found
}
