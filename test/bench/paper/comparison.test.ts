/** Figures of the paper beside ours, and the number of views of each readout. */
import { describe, expect, test } from 'vitest'
import { datasets, type PaperFigure, type Setup } from '../../../bench/paper/experiment.js'
import { experimentsFor } from '../../../bench/paper/experiments/index.js'
import { figuresTable } from '../../../bench/paper/results.js'
import { contextOf, experimentNamed, tiny } from './synthetic_results.js'

const { log2, log10 } = Math

describe('figures beside the paper’s', () => {
  const figuresAt = async (setup: Setup) => {
    const lists: { experiment: string; figure: PaperFigure }[] = []
    for (const experiment of experimentsFor('all', setup).filter(({ arms }) => arms(setup).length > 0)) {
      const { figures } = await experiment.run((await contextOf(setup)).context)
      const readouts = new Set(experiment.arms(setup).map(({ readout }) => readout.views))
      for (const figure of figures) {
        if (!figure.what.startsWith('minutes of'))
          expect([...readouts], `${experiment.name}: ${figure.what}`).toContain(figure.ourViews)
        lists.push({ experiment: experiment.name, figure })
      }
    }
    return lists
  }
  const full = datasets.map((dataset): Setup => ({ scale: 'full', dataset, dataDir: 'pictures' }))

  test.each(full)(
    'at full scale on $dataset, figures of the same data set have the same number of views',
    async (setup) => {
      const list = await figuresAt(setup)
      const same = list.filter(({ figure }) => !figure.differs!.some((why) => /^\S+, not (CIFAR|ImageNet)/.test(why)))
      for (const { experiment, figure } of same)
        if (figure.paperViews !== undefined)
          expect(figure.ourViews, `${experiment}: ${figure.what}`).toBe(figure.paperViews)
      const comparable = list.filter(({ figure }) => figure.differs!.length === 0).map(({ figure }) => figure.paper)
      expect(comparable).toEqual(
        {
          cifar10: ['86.43 ± 0.72', '92.71 ± 0.19', 'fewer minutes with 4 and 8 views', 'about as good', 'runs with more views are on it', '83.75'], // prettier-ignore
          stl10: [],
          imagenet100: ['they match'],
        }[setup.dataset],
      )
    },
  )

  test('are computed from the arm that they name', async () => {
    const { figures } = await experimentNamed('views').run((await contextOf(full[0])).context)
    const [two, eight, ...elsewhere] = figures
    // 42 + 1 + all images + 0.3 · the middle seed − no ReLU after the stem; 100 epochs and λ are added below. The spread is that of the seeds.
    const base = 42 + 1 + 3 * log2(5) + 0.6 - 1.5
    expect(two.ours).toBe(`${(base + 100 + 2 * log10(50)).toFixed(2)} ± 0.30`)
    expect(eight.ours).toBe(`${(base + 100 + 2 * log10(25) + 4 + 0.4).toFixed(2)} ± 0.50`)
    expect(elsewhere.map(({ paper }) => paper)).toEqual(['90.7', '93.1'])
    expect(elsewhere[0].ours).toBe(`${(base + 10 + 2 * log10(25) + 4 + 0.4).toFixed(2)} ± 0.50`)
  })

  test('name at tiny scale the reasons why they cannot be compared', async () => {
    const { figures } = await experimentNamed('views').run((await contextOf(tiny)).context)
    expect(figures[0]).toMatchObject({
      paperViews: 16,
      ourViews: 1,
      differs: [
        'ResNet-18, not ResNet-50',
        'width 8, not 64',
        '16 px, not 32',
        '20 % of the images, not 100',
        '4 epochs, not 100',
        'initial weights: He’s with blocks that start as identities, not PyTorch’s',
        'interpolation: bilinear, not OpenCV’s area',
        'after the stem: ReLU, not no ReLU',
        'last batch: dropped, not kept',
        'views read: 1, not 16',
      ],
    })
    const page = figuresTable({ figures })
    expect(page.rows[0].slice(2, 5)).toEqual(['16', figures[0].ours, '1'])
    expect(page.rows[0][5]).toMatch(/^no: ResNet-18, not ResNet-50; width 8, not 64; /)
  })
})

test('plots and tables of accuracies state the number of views of the readout', async () => {
  for (const [setup, text] of [
    [tiny, '1 view'],
    [{ scale: 'full', dataset: 'cifar10' }, '16 views'],
  ] as const)
    for (const name of ['views', 'fraction', 'time-to', 'pareto']) {
      const { plots, table } = await experimentNamed(name).run((await contextOf(setup)).context)
      for (const { spec } of plots) expect(JSON.stringify(spec), name).toMatch(new RegExp(`, ${text}"`))
      expect(table.header.at(-1)).toBe('views read')
      for (const row of table.rows) expect(row.at(-1)).toBe(text.split(' ')[0])
    }
  for (const name of ['projector', 'fidelity'])
    for (const { spec } of (await experimentNamed(name).run((await contextOf(tiny)).context)).plots)
      expect(JSON.stringify(spec), name).toContain(', 1 view"')
})
