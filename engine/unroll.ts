/**
 * Unrolls the loops of a kernel's text that end their first line with `// @unroll`. Indices of arrays in these loops
 * become constants, so that every compiler can keep the arrays in registers, and none needs to decide to.
 *
 *   for (var q = 0u; q < ROWS; q++) { // @unroll      {                {
 *     sum[q] += x[at + q];                        →     sum[0u] += …     sum[1u] += …    …
 *   }                                                 }                }
 */
export function unrolled(text: string): string {
  const loop = /^( *)for \(var (\w+) = 0u; \2 < ([^;]+); \2(?:\+\+| \+= (\w+))\) \{ \/\/ @unroll\n([^]*?)^\1\}\n/m
  const constants = constantsOf(text)
  for (let found = loop.exec(text); found; found = loop.exec(text)) {
    const [whole, indent, name, bound, step = '1', body] = found
    const [end, by] = [valueOf(bound, constants), valueOf(step, constants)]
    const use = new RegExp(`(?<![.\\w])${name}\\b`, 'g')
    let copies = ''
    for (let i = 0; i < end; i += by) copies += `${indent}{\n${body.replace(use, `${i}u`)}${indent}}\n`
    text = text.slice(0, found.index) + copies + text.slice(found.index + whole.length)
  }
  return text
}

/** The text of each `const` of a module. */
const constantsOf = (text: string): Map<string, string> =>
  new Map([...text.matchAll(/^const (\w+) *(?:: *\w+ *)?= *([^;]*);/gm)].map(([, name, value]) => [name, value]))

/** The value of a whole number, a constant, or an expression of them with + − · / % and parentheses, as u32. */
function valueOf(expression: string, constants: ReadonlyMap<string, string>): number {
  const tokens = expression.match(/\w+|[-+*/%()]/g) ?? []
  let at = 0
  const atom = (): number => {
    const token = tokens[at++]
    if (token === '(') {
      const value = sum()
      at++
      return value
    }
    const number = /^(\d+)u?$/.exec(token)
    if (number) return Number(number[1])
    const text = constants.get(token)
    if (text === undefined) throw new Error(`'${expression}' is not a constant, so its loop cannot be unrolled`)
    return valueOf(text, constants)
  }
  const product = (): number => {
    let value = atom()
    while (/^[*/%]$/.test(tokens[at] ?? '')) {
      const [operator, right] = [tokens[at++], atom()]
      value = operator === '*' ? value * right : operator === '/' ? Math.floor(value / right) : value % right
    }
    return value
  }
  const sum = (): number => {
    let value = product()
    while (/^[-+]$/.test(tokens[at] ?? '')) value = tokens[at++] === '+' ? value + product() : value - product()
    return value
  }
  return sum()
}
