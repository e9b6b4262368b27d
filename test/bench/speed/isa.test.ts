/** Pipelines as a GPU's compiler sees them, without that GPU. */
import { expect, test } from 'vitest'
import { compilePlanned } from '../../../bench/speed/isa/compile.js'
import { innerLoop } from '../../../bench/speed/isa/inner_loop.js'
import { isaMarkdown } from '../../../bench/speed/isa/isa.js'
import { readReport } from '../../../bench/speed/isa/statistics.js'
import { workload } from '../../../bench/speed/workload.js'

const lines = (...all: string[]): string => all.map((line) => (line.endsWith(':') ? line : `\t${line} ; 00`)).join('\n')

test('the inner loop is the innermost one with the most multiplications with addition', () => {
  const code = lines(
    'BB0:',
    'v_fma_f32 v1, v2, v3, v4',
    'BB1:',
    'v_fmac_f32_e32 v1, v2, v3',
    'BB2:',
    's_delay_alu instid0(VALU_DEP_1)',
    'ds_load_b128 v[0:3], v9',
    'v_dual_fmac_f32 v1, v2, v3 :: v_dual_fmac_f32 v4, v5, v6',
    'v_dual_fmac_f32 v1, v2, v3 :: v_dual_mul_f32 v4, v5, v6',
    's_cbranch_scc0 BB2',
    's_cbranch_scc1 BB4',
    's_branch BB1',
    'BB4:',
    'v_fmac_f32_e32 v1, v2, v3',
    's_cbranch_scc0 BB4',
    's_endpgm',
  )
  expect(innerLoop(code)).toEqual({ fmas: 3, instructions: 4 })
  // A wave of 32 threads does 16 · 16 · 16 of them in one instruction of the matrix units.
  const matrix = lines('BB0:', 'v_wmma_f32_16x16x16_f16 v[0:7], v[8:15], v[16:23], v[0:7]', 's_cbranch_vccnz BB0')
  expect(innerLoop(matrix)).toEqual({ fmas: 128, instructions: 2 })
  expect(innerLoop(lines('BB0:', 'v_add_f32 v1, v2, v3', 's_cbranch_scc0 BB0', 's_endpgm'))).toBeUndefined()
  expect(innerLoop(lines('v_fmac_f32_e32 v1, v2, v3', 's_cbranch_scc0 BB9', 'BB9:', 's_endpgm'))).toBeUndefined()
})

test('a report gives each pipeline its figures, and names what the compiler refused', () => {
  const pipeline = (kernel: string, flops: number): string =>
    `@@pipeline ${JSON.stringify({ kernel, constants: { ROWS: 2 }, uses: [{ workload: 'w', op: 'o', flops, workgroups: 1 }] })}\n`
  const figures = [
    'VGPRs: 96',
    'Spilled SGPRs: 1',
    'Spilled VGPRs: 2',
    'Scratch size: 8',
    'LDS size: 512',
    'Code size: 44',
  ]
  const more = ['Subgroups per SIMD: 16', 'Instructions: 11', 'Inverse Throughput: 77']
  const text = [
    'a driver says something\n@@gpu {"adapter":"a","driver":"d"}\n',
    pipeline('matmul', 10),
    'disasm:\nBB0:\n\tv_fmac_f32_e32 v1, v2, v3 ; 00\n\ts_cbranch_scc0 BB0 ; 00\n\nCompute Shader:\n',
    `${[...figures, ...more].join('\n')}\n`,
    pipeline('add', 0),
    '@@failed no f16\n',
    '@@end \n',
  ].join('')
  const { pipelines, ...gpu } = readReport(text)
  expect(gpu).toEqual({ adapter: 'a', driver: 'd' })
  expect(pipelines[0]).toMatchObject({
    kernel: 'matmul',
    figures: {
      registers: 96,
      spilled: 3,
      scratch: 8,
      shared: 512,
      waves: 16,
      codeBytes: 44,
      instructions: 11,
      cycles: 77,
    },
  })
  expect(pipelines[0].figures!.loop).toEqual({ fmas: 1, instructions: 2 })
  expect(pipelines[1]).toMatchObject({ kernel: 'add', failed: 'no f16' })
  const markdown = isaMarkdown(pipelines, [workload({})])
  expect(markdown).toContain('| matmul | ROWS 2 | 1 | 1 / 2 = 0.50 | 96 | 16 | 512 | 3 | 8 | 77 |')
  expect(markdown).toContain('Refused: add {"ROWS":2}: no f16')
  expect(() => readReport('@@gpu {}\nSegmentation fault\n')).toThrow('the compiler has failed: Segmentation fault')
})

test(
  'no pipeline of ResNet-18 and -50 in f32 and f16 spills registers on RDNA 3',
  { timeout: 120_000 },
  async (context) => {
    const workloads = (['resnet18', 'resnet50'] as const).flatMap((arch) =>
      (['f32', 'f16'] as const).map((precision) => workload({ arch, batch: 256, precision })),
    )
    const report = await compilePlanned({ family: 'navi31', workloads, loops: false }).catch((error: Error) => {
      if (/apt|C compiler/.test(error.message)) context.skip(error.message)
      throw error
    })
    expect(report.pipelines.length).toBeGreaterThan(60)
    expect(report.pipelines.filter(({ failed }) => failed)).toEqual([])
    expect(report.pipelines.filter(({ figures }) => figures).length).toBeGreaterThan(60)
    for (const { kernel, constants, figures } of report.pipelines)
      if (figures) expect({ kernel, constants, ...figures }).toMatchObject({ spilled: 0, scratch: 0 })
  },
)
