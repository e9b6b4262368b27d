/** Whether a broken kernel still compiles. One that does not is no mistake that could be overlooked. */
import { Kernel } from '../../engine/index.js'
import { openEngine } from '../../engine/node/index.js'
import { emulated } from '../engine/ops/products/emulated_matrices.js'

/** The kernel as shipped, and with each of its alternatives. */
function specialisations(name: string, source: string): string[] {
  if (/subgroup_matrix/.test(source)) return [emulated(source)]
  const kernel = new Kernel(name, source)
  const [block] = /^\/\/ @specialize$[^]*?^\/\/ @end$/m.exec(source) ?? ['']
  const aliases = [...block.matchAll(/^alias (\w+) = (vec4f|f32);/gm)]
  const half = Object.fromEntries(aliases.map(([, alias, type]) => [alias, type === 'f32' ? 'f16' : 'vec4h']))
  const flags = [...block.matchAll(/^const (\w+) = (true|false);/gm)].map(([, flag, value]) => ({
    [flag]: value !== 'true',
  }))
  const snippets = [...source.matchAll(/\/\* @snippet (\w+) = (\w+)/g)].map(([, snippet, value]) => ({
    ...(value === 'f16' && half),
    [snippet]: value,
  }))
  return [{}, ...flags, ...snippets].map((constants) => kernel.specialize(constants))
}

export interface Compiler {
  compiles(name: string, source: string, broken: string): Promise<boolean>
  close(): void
}

export async function openCompiler(): Promise<Compiler> {
  const engine = await openEngine()
  const { device } = engine
  const known = new Map<string, boolean>()
  const valid = async (code: string): Promise<boolean> => {
    const before = known.get(code)
    if (before !== undefined) return before
    device.pushErrorScope('validation')
    const { messages } = await device.createShaderModule({ code }).getCompilationInfo()
    await device.popErrorScope()
    const result = messages.every(({ type }) => type !== 'error')
    known.set(code, result)
    return result
  }
  return {
    async compiles(name, source, broken) {
      try {
        const before = specialisations(name, source)
        const after = specialisations(name, broken)
        for (const [i, code] of after.entries()) if (!(await valid(code)) && (await valid(before[i]))) return false
        return true
      } catch {
        return false
      }
    },
    close: () => engine.close(),
  }
}
