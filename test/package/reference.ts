/** `npm run reference`: writes the reference page of `webgpu-ssl/kernels` from docstrings, examples and a recording of each. */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import ts from 'typescript'
import { requestAdapter } from '../../engine/node/index.js'
import * as kernels from '../../engine/standalone/index.js'
import type { RecordedKernel } from '../../engine/standalone/index.js'

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

/** Where the page is. */
export const page = at('engine/standalone/REFERENCE.md')
const head = at('test/package/reference_head.md')
const example = at('test/package/reference_example.ts')

export interface Option {
  name: string
  optional: boolean
  type: string
  text: string
}

/** A public function that gives a kernel, as its source documents it. */
export interface Documented {
  name: string
  text: string
  /** The call in its `@example`. */
  example: string
  options: Option[]
  /** First sentence of its file. */
  family: string
}

/** The functions of `webgpu-ssl/kernels` whose first parameter is a device, in the order of the entry. */
export function documentedKernels(): Documented[] {
  const entry = at('engine/standalone/index.ts')
  const { options } = ts.convertCompilerOptionsFromJson(
    JSON.parse(readFileSync(at('tsconfig.json'), 'utf8')).compilerOptions,
    at(''),
  )
  const program = ts.createProgram([entry], options)
  const checker = program.getTypeChecker()
  const module = checker.getSymbolAtLocation(program.getSourceFile(entry)!)!
  return checker.getExportsOfModule(module).flatMap((exported) => {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported
    const declaration = symbol.valueDeclaration
    if (!declaration || !ts.isFunctionDeclaration(declaration)) return []
    const [device, argument] = declaration.parameters
    if (device?.name.getText() !== 'device') return []
    const tags = symbol.getJsDocTags(checker)
    const type = checker.getTypeAtLocation(argument)
    const shapes = type.flags & ts.TypeFlags.StringLike ? [] : checker.getApparentType(type).getProperties()
    const [, family = ''] = /^\/\*\*\s*(.*?\.)[\s*]/.exec(declaration.getSourceFile().text) ?? []
    return {
      name: exported.name,
      text: ts.displayPartsToString(symbol.getDocumentationComment(checker)),
      example: ts.displayPartsToString(tags.find(({ name }) => name === 'example')?.text),
      options: shapes.map((property) => optionOf(checker, property, argument)),
      family,
    }
  })
}

function optionOf(checker: ts.TypeChecker, property: ts.Symbol, where: ts.Node): Option {
  const type = checker.getNonNullableType(checker.getTypeOfSymbolAtLocation(property, where))
  const written = checker.typeToString(type)
  return {
    name: property.name,
    optional: (property.flags & ts.SymbolFlags.Optional) !== 0,
    type: written === 'Shape' || written === 'readonly number[]' ? 'shape' : written,
    text: ts.displayPartsToString(property.getDocumentationComment(checker)),
  }
}

/** Makes the kernel of an example. */
export function runExample<T>(call: string, device: GPUDevice): Promise<T> {
  const names = Object.keys(kernels)
  const make = new Function('device', ...names, `return ${call}`) as (...given: unknown[]) => Promise<T>
  return make(device, ...names.map((name) => kernels[name as keyof typeof kernels]))
}

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').replaceAll('|', '\\|')

/** The section of a kernel. `recorded` is that of its example. */
function section({ name, text, example, options }: Documented, recorded: RecordedKernel<string>): string {
  const rows = Object.entries(recorded.operands).map(
    ([operand, { shape, dtype, access, bytes }]) =>
      `| \`${operand}\` | [${shape.join(', ')}] | ${dtype} | ${access.replace('_', ' and ')} | ${bytes} |`,
  )
  const given = options.map(
    ({ name, optional, type, text }) =>
      `| \`${name}\`${optional ? ' (optional)' : ''} | ${type.replaceAll('|', '\\|')} | ${oneLine(text)} |`,
  )
  return [
    `### ${name}`,
    oneLine(text),
    ['| option | type | meaning |', '| --- | --- | --- |', ...given].join('\n'),
    ['```ts', `await ${example}`, '```'].join('\n'),
    ['| buffer of the example | shape | type | access | bytes |', '| --- | --- | --- | --- | ---: |', ...rows].join(
      '\n',
    ),
  ].join('\n\n')
}

/** The whole page. */
export async function referencePage(device: GPUDevice): Promise<string> {
  const documented = documentedKernels().filter(({ name }) => name !== 'kernel')
  const parts = [
    readFileSync(head, 'utf8').trimEnd(),
    [
      '```ts',
      readFileSync(example, 'utf8').replace('../../engine/standalone/index.js', 'webgpu-ssl/kernels').trimEnd(),
      '```',
    ].join('\n'),
  ]
  let family = ''
  for (const kernel of documented) {
    if (kernel.family !== family) parts.push(`## ${(family = kernel.family).replace(/\.$/, '')}`)
    const recorded = await runExample<RecordedKernel<string>>(kernel.example, device)
    parts.push(section(kernel, recorded))
    recorded.destroy()
  }
  return `${parts.join('\n\n')}\n`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { adapter } = await requestAdapter()
  const device = await adapter.requestDevice()
  writeFileSync(page, await referencePage(device))
  device.destroy()
}
