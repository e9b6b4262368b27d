import { describe, expect, it } from 'vitest'
import { parseYaml } from '../../../train/config/parse_yaml.js'
import { resolveConfig, overlay, type PartialConfig } from '../../../train/config/config.js'

const parsed = (text: string): unknown => parseYaml(text, 'file.yaml')

describe('parseYaml', () => {
  it('gives plain objects and lists', () => {
    expect(parsed('a: [1, x, true, null]\nb: { c: 1e-3 }')).toEqual({ a: [1, 'x', true, null], b: { c: 1e-3 } })
    expect(parsed('')).toBeNull()
    expect(parsed('a: &x [1]\nb: *x')).toEqual({ a: [1], b: [1] })
  })

  it.each([
    ['a: [1', 'not valid YAML: Flow sequence in block collection must be sufficiently indented'],
    ['a: 1\na: 2', 'not valid YAML: Map keys must be unique at line 2, column 1'],
    ['a: "' + '\\z'.repeat(5000) + '"', 'not valid YAML: Invalid escape sequence \\z at line 1, column 5'],
    ['['.repeat(2000) + ']'.repeat(2000), 'nested deeper than 32 levels'],
    ['{a: '.repeat(60) + '1' + '}'.repeat(60), 'nested deeper than 32 levels'],
    ['a: &a [*a]', 'nested deeper than 32 levels'],
    ['a: &a [1]\nb: [' + '*a, '.repeat(5000) + ']', 'not valid YAML: Excessive alias count'],
    ['%YAML 1.1\n---\na: 2001-01-01', 'options are numbers, text, true, false, lists and mappings only'],
    ['__proto__: { polluted: 1 }', "'__proto__' is not the name of an option"],
    ['a: [{ __proto__: { polluted: 1 } }]', "'__proto__' is not the name of an option"],
    ['#' + ' '.repeat(2 ** 15), 'over 32 KiB, which is too long for a file of options'],
  ])('refuses %j in one line: %s', (text, reason) => {
    let message = ''
    try {
      parsed(text)
    } catch (error) {
      message = (error as Error).message
    }
    expect(message).toMatch(/^file\.yaml: /)
    expect(message).toContain(reason)
    expect(message).not.toContain('\n')
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
  })
})

describe('values of another kind than an option takes', () => {
  const hostile = (value: unknown): PartialConfig => value as PartialConfig

  it.each([
    [{ augmentation: null }, '`augmentation` null: must be a mapping'],
    [{ augmentation: 'cifar' }, "`augmentation` 'cifar': must be a mapping"],
    [{ augmentation: [1] }, '`augmentation` [1]: must be a mapping'],
    [{ augmentation: { recipe: '__proto__' } }, "`augmentation` '__proto__': choose one of cifar"],
    [{ augmentation: { recipe: { toString: 1 } } }, '`augmentation` {"toString":1}: choose one of cifar'],
    [{ augmentation: { jitter: null } }, 'augmentation.jitter null: '],
    [{ augmentation: { blur: 'x' } }, "augmentation.blur 'x': "],
    [{ objective: { toString: 1 } }, '`objective` {"toString":1}: choose one of'],
    [{ objective: '__proto__' }, "`objective` '__proto__': choose one of"],
    [{ lr: { toString: 1 } }, '`lr` {"toString":1}: must be a number'],
    [{ arch: 'x'.repeat(1000) }, `\`arch\` '${'x'.repeat(80)}…': choose one of`],
    [{ constructor: { prototype: { polluted: 1 } } }, "unknown option 'constructor'"],
  ])('refuses %j', (partial, message) => {
    expect(() => resolveConfig(hostile(partial))).toThrow(message)
    expect(() => resolveConfig(overlay(hostile(partial), {}))).toThrow(message)
    expect(() => resolveConfig(overlay({}, hostile(partial)))).toThrow(message)
  })

  it("takes any name for the caller's own data", () => {
    expect(resolveConfig({ data: '__proto__' })).toMatchObject({ data: '__proto__', augmentation: { size: 32 } })
  })
})
