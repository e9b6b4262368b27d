/**
 * Kernels: .wgsl files, which compile as shipped. A kernel is specialised by replacing the defaults of one marked block
 * and, if it has alternatives for a part of its work, by swapping snippets. Code uses the names that the shader gives
 * to its buffers and to the fields of its uniform Params. They are parsed here, so that binding numbers stand in the
 * shader only.
 *
 *   // @specialize          // @snippet weights = shuffled     /* @snippet weights = direct
 *   const PIXELS = 4u;      fn weight(…) -> vec4f { … }        fn weight(…) -> vec4f { … }
 *   alias In = vec4f;       // @end                            @end *\/
 *   // @end                 (the default)                      (an alternative: a comment in the file as shipped)
 *
 * Loops marked with `// @unroll` are written out: unroll.ts.
 */
import { unrolled } from './unroll.js'

/** Replacements for the `const` and `alias` lines of a kernel's `@specialize` block, and its snippets by name. */
export type Constants = Readonly<Record<string, number | boolean | string>>

interface Field {
  readonly name: string
  readonly type: 'u32' | 'i32' | 'f32'
}

export class Kernel {
  readonly storageBindings: readonly { name: string; binding: number; write: boolean }[]
  readonly paramsBinding: number | undefined
  private readonly fields: readonly Field[]

  constructor(
    readonly name: string,
    readonly source: string,
  ) {
    const storages = [
      ...source.matchAll(/@group\(0\)\s*@binding\((\d+)\)\s*var<storage,\s*(read_write|read)>\s*(\w+)/g),
    ]
    this.storageBindings = storages.map(([, binding, access, id]) => ({
      name: id,
      binding: Number(binding),
      write: access === 'read_write',
    }))
    const uniform = /@group\(0\)\s*@binding\((\d+)\)\s*var<uniform>\s*params\s*:\s*Params/.exec(source)
    this.paramsBinding = uniform ? Number(uniform[1]) : undefined
    const struct = /struct Params \{([^}]*)\}/.exec(source)
    this.fields = [...(struct?.[1] ?? '').replace(/\/\/.*$/gm, '').matchAll(/(\w+)\s*:\s*(\w+)/g)].map(
      ([, name, type]) => {
        if (type !== 'u32' && type !== 'i32' && type !== 'f32')
          throw new Error(`${this.name}.wgsl: Params.${name} must be a 32-bit scalar`)
        return { name, type }
      },
    )
  }

  /**
   * The type of the numbers in each storage binding of a specialisation, in the order of `storageBindings`. Integers of
   * any kind are 'u32'.
   */
  numberTypes(constants: Constants): ('f32' | 'f16' | 'u32')[] {
    const text = this.specialize(constants).replace(/\/\*[^]*?\*\//g, '')
    const aliases = new Map([...text.matchAll(/^alias (\w+) *= *([^;]*);/gm)].map(([, name, type]) => [name, type]))
    const resolved = (type: string): string =>
      type.replace(/\w+/g, (name) => (aliases.has(name) ? resolved(aliases.get(name)!) : name))
    return this.storageBindings.map(({ name }) => {
      const [, declared] = new RegExp(`var<storage,[^>]*>\\s*${name}\\s*:\\s*([^;]*);`).exec(text)!
      const type = resolved(declared)
      if (/\b(f16|vec[234]h)\b/.test(type)) return 'f16'
      return /\b(f32|vec[234]f)\b/.test(type) ? 'f32' : 'u32'
    })
  }

  /** The words of the uniform Params, in the order of the struct, padded to 16 bytes. */
  packParams(values: Readonly<Record<string, number>>): Uint32Array {
    const words = new DataView(new ArrayBuffer(Math.max(16, Math.ceil(this.fields.length / 4) * 16)))
    this.fields.forEach(({ name, type }, i) => {
      const value = values[name]
      if (value === undefined) throw new Error(`${this.name}.wgsl: Params.${name} is not given`)
      if (type === 'f32') words.setFloat32(4 * i, value, true)
      else if (!Number.isInteger(value))
        throw new Error(`${this.name}.wgsl: Params.${name} = ${value} is not a whole number`)
      else if (type === 'i32') words.setInt32(4 * i, value, true)
      else words.setUint32(4 * i, value, true)
    })
    for (const name of Object.keys(values))
      if (!this.fields.some((f) => f.name === name)) throw new Error(`${this.name}.wgsl: Params has no field '${name}'`)
    return new Uint32Array(words.buffer)
  }

  /** The shader's text with the given constants and snippets instead of the defaults. */
  specialize(constants: Constants): string {
    let text = this.source
    for (const [name, value] of Object.entries(constants)) {
      const swapped = swapSnippet(text, name, String(value))
      if (swapped !== undefined) {
        text = swapped
        continue
      }
      const block = /^\/\/ @specialize$[^]*?^\/\/ @end$/m.exec(text)
      const line = block && new RegExp(`^(const|alias) ${name}( *(?:: *\\w+ *)?= *)([^;]*);`, 'm').exec(block[0])
      if (!line) throw new Error(`${this.name}.wgsl has no constant '${name}' to specialise`)
      const suffix = typeof value === 'number' && /^\d+u$/.test(line[3]) ? 'u' : ''
      text = text.replace(block[0], block[0].replace(line[0], `${line[1]} ${name}${line[2]}${value}${suffix};`))
    }
    return enableWhatIsUsed(unrolled(text))
  }
}

/**
 * Replaces the snippets `name = …` by those called `name = alternative`. Where there is no such snippet, nothing
 * remains. Returns undefined if the kernel has no snippet `name`.
 */
function swapSnippet(text: string, name: string, alternative: string): string | undefined {
  const places = new RegExp(
    `^ *// @snippet ${name} = (\\w+)\\n([^]*?)^ *// @end\\n((?: */\\* @snippet ${name} = [^]*?@end \\*/\\n)*)`,
    'gm',
  )
  let [found, known] = [false, false]
  const swapped = text.replace(places, (_, standard: string, body: string, others: string) => {
    found = true
    const other = new RegExp(`/\\* @snippet ${name} = ${alternative}\\n([^]*?)^ *@end \\*/`, 'm').exec(others)
    known ||= standard === alternative || other !== null
    return standard === alternative ? body : (other?.[1] ?? '')
  })
  if (found && !known) throw new Error(`no snippet '${name} = ${alternative}'`)
  return found ? swapped : undefined
}

/** Adjusts the `enable` lines: a specialisation enables only the features that its own text uses. */
function enableWhatIsUsed(text: string): string {
  const code = text.replace(/\/\*[^]*?\*\//g, '').replace(/\/\/.*$/gm, '')
  const body = code.replace(/^enable .*$/gm, '')
  if (!/\bsubgroup/.test(body)) text = text.replace(/^enable subgroups;\n/m, '')
  if (/@subgroup_size\b/.test(body)) text = text.replace(/^(?!\/\/)/m, 'enable subgroup_size_control;\n')
  if (/\b(f16|vec[234]h)\b/.test(body) && !/^enable .*\bf16\b/m.test(code))
    text = text.replace(/^(?!\/\/)/m, 'enable f16;\n')
  return text
}

/** Kernels by file name, without `.wgsl`. */
export class KernelLibrary {
  private readonly kernels = new Map<string, Kernel>()

  constructor(texts: Readonly<Record<string, string>>) {
    for (const [name, source] of Object.entries(texts)) this.kernels.set(name, new Kernel(name, source))
  }

  get names(): string[] {
    return [...this.kernels.keys()].sort()
  }

  get(name: string): Kernel {
    const kernel = this.kernels.get(name)
    if (!kernel) throw new Error(`no kernel '${name}.wgsl' among ${this.names.join(', ')}`)
    return kernel
  }
}
