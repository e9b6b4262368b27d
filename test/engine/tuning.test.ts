import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import {
  conv2d,
  Engine,
  gradients,
  input,
  kernelTexts,
  measureVariants,
  square,
  sum,
  variantsOf,
} from '../../engine/index.js'
import { tuneByMeasurement } from '../../engine/node/index.js'
import { engine } from '../support/engine.js'

const folder = mkdtempSync(join(tmpdir(), 'tuning-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** The tests' engine with a separate table and tuner. */
async function untuned(): Promise<Engine> {
  return Object.assign(Object.create(await engine()) as Engine, {
    variants: new Map<string, string>(),
    tuner: undefined,
  })
}

/** A 3×3 convolution and both gradients: each can be computed by register tiles and by Winograd. */
function graph() {
  const [x, w] = [input('x', [6, 12, 12, 32]), input('w', [3, 3, 32, 32])]
  const y = conv2d(x, w, { padding: 1 })
  const [dx, dw] = gradients(sum(square(y)), [x, w])
  return { outputs: { y, dx, dw } }
}

describe('measuring variants', () => {
  test('finds one of the variants of each tunable', async () => {
    const gpu = await untuned()
    const { tunables } = gpu.plan(graph())
    expect([...tunables.values()].map(({ node }) => node.op.name).sort()).toEqual([
      'conv2d',
      'conv2dInputGradient',
      'conv2dWeightGradient',
    ])
    const seen: [number, number][] = []
    const table = await measureVariants(gpu, [...tunables.values()], {
      onProgress: (done, total) => seen.push([done, total]),
    })
    expect(seen).toEqual([1, 2, 3].map((done) => [done, 3]))
    for (const [key, { variants }] of tunables) {
      expect(variants.length).toBeGreaterThan(1)
      expect(variants).toContain(table.get(key))
    }
  })

  test('leaves out a variant that cannot be built', async () => {
    const gpu = await untuned()
    const [tunable] = gpu.plan(graph()).tunables.values()
    const broken = { ...tunable, variants: [...tunable.variants].sort((name) => (name === 'winograd' ? -1 : 1)) }
    const failing = Object.assign(Object.create(gpu) as Engine, {
      library: { get: (name: string) => (/winograd/.test(name) ? never(name) : gpu.library.get(name)) },
    })
    expect([...(await measureVariants(failing, [broken])).values()][0]).toMatch(/^register/)
  })

  test('leaves out a variant whose result is wrong, however fast it is', async () => {
    const own = await engine()
    const wrong = { ...kernelTexts, winograd_output: kernelTexts['winograd_output'].replaceAll('y[at]', 'y[at + 1u]') }
    expect(wrong.winograd_output).not.toBe(kernelTexts['winograd_output'])
    const gpu = Object.assign(new Engine(own.device, own.info, wrong), { waitFor: own.waitFor })
    const [tunable] = gpu.plan(graph()).tunables.values()
    expect(tunable.variants).toContain('winograd')
    const refused: string[] = []
    const onRefused = (_: unknown, variant: string, reason: string) => refused.push(`${variant}: ${reason}`)
    const table = await measureVariants(gpu, [tunable], { onRefused })
    expect([...table.values()][0]).not.toBe('winograd')
    expect(refused).toEqual([expect.stringMatching(/^winograd: its result differs from the plain variant's by \d/)])
  })
})

describe('an engine that measures', () => {
  test('measures unknown products once, and records the fastest variants', async () => {
    const gpu = await untuned()
    let asked = 0
    gpu.tuner = async (tunables) => {
      asked += tunables.length
      return new Map(tunables.map(({ node }) => [keyOf(gpu, node.op.name), 'register']))
    }
    const first = await gpu.compile(graph())
    expect(asked).toBe(3)
    expect(first.plan.dispatches.map(({ kernel }) => kernel)).not.toContain('winograd_input')
    expect([...variantsOf([first.plan]).values()]).toEqual(['register', 'register', 'register'])
    const second = await gpu.compile(graph())
    expect(asked).toBe(3)
    first.destroy()
    second.destroy()
  })

  test('keeps its measurements in a file, and reads them again', async () => {
    const file = join(folder, 'variants.json')
    const first = await untuned()
    tuneByMeasurement(first, undefined, file)
    const program = await first.compile(graph())
    program.destroy()
    const kept = JSON.parse(readFileSync(file, 'utf8')) as { adapters: Record<string, Record<string, string>> }
    expect(Object.values(kept.adapters).map((table) => Object.keys(table).length)).toEqual([3])

    const second = await untuned()
    tuneByMeasurement(second, undefined, file)
    expect(new Map(second.variants)).toEqual(new Map(first.variants))
    second.tuner = () => Promise.reject(new Error('measured again'))
    ;(await second.compile(graph())).destroy()
  })

  const damaged = (gpu: Engine): string[] => {
    const { vendor, architecture, device, description } = gpu.info
    const adapter = [vendor, architecture, device, description].filter(Boolean).join(' · ')
    const key = [...gpu.plan(graph()).tunables.keys()][0]
    return [
      '{"version": 2, "adap',
      '',
      'null',
      '{"version": 2, "adapters": null}',
      '{"version": 2, "adapters": []}',
      JSON.stringify({ version: 2, adapters: { [adapter]: null } }),
      JSON.stringify({ version: 2, adapters: { [adapter]: { [key]: 7 } } }),
      JSON.stringify({ version: 2, adapters: { [adapter]: { [key]: 'no such variant' } } }),
      `{"version": 2, "adapters": {"__proto__": {"${'polluted'}": "x"}}}`,
    ]
  }

  test.each(Array.from({ length: 9 }, (_, i) => i))('measures again what a damaged file lacks (%i)', async (i) => {
    const file = join(folder, 'broken.json')
    const gpu = await untuned()
    writeFileSync(file, damaged(gpu)[i])
    tuneByMeasurement(gpu, undefined, file)
    ;(await gpu.compile(graph())).destroy()
    const kept = JSON.parse(readFileSync(file, 'utf8')) as { adapters: Record<string, Record<string, string>> }
    const table = Object.values(kept.adapters).at(-1)!
    for (const [key, { variants }] of gpu.plan(graph()).tunables) expect(variants).toContain(table[key])
    expect(({} as { polluted?: string }).polluted).toBeUndefined()
  })
})

/** The key of a tunable of `graph()` by its op. */
function keyOf(gpu: Engine, op: string): string {
  return [...gpu.plan(graph()).tunables].find(([, { node }]) => node.op.name === op)![0]
}

function never(name: string): never {
  throw new Error(`${name} is not for this test`)
}
