/** The choices of a run: objective, network and length, with defaults that suit the adapter. */
import type { PartialConfig, PretrainConfig } from '../../config/config.js'
import { formatCount } from '../../report/text.js'
import { element, find, setText } from './dom.js'

export const OBJECTIVES = {
  'barlow-twins': {
    name: 'Barlow Twins',
    text: 'Views of a picture must get the same numbers, and no number may repeat another. λ weighs the second part.',
  },
  vicreg: {
    name: 'VICReg',
    text: 'Views of a picture must get the same numbers. Each number must vary from picture to picture, and no number may repeat another. λ weighs agreement and variation.',
  },
  simclr: {
    name: 'SimCLR',
    text: 'Each view must find the other views of its picture among the views of all other pictures. A low temperature makes it strict.',
  },
} as const

type Objective = keyof typeof OBJECTIVES

/** The weight that an objective starts with; a narrow projector takes a larger one. */
const weightOf = (objective: Objective, dim: number): number =>
  ({ 'barlow-twins': dim <= 128 ? 0.04 : 0.01, vicreg: 25, simclr: 0.1 })[objective]

interface Field {
  id: string
  label: string
  help: string
  input: HTMLSelectElement | HTMLInputElement
}

/** Values of a select, or the attributes of a number. */
const select = (values: readonly (number | string)[], chosen: number | string, names = values.map(String)) =>
  element(
    'select',
    {},
    ...values.map((value, i) => element('option', { value, ...(value === chosen && { selected: true }) }, names[i])),
  )
const numeric = (value: number, attributes: Record<string, string | number>) =>
  element('input', { type: 'number', required: true, value, ...attributes })

export interface Suggested {
  adapterClass: 'cpu' | 'gpu'
  /** Side of the pictures, in pixels. */
  side: number
  isSample: boolean
  /** Number of pictures. */
  count: number
}

/** Sides of a view for pictures of this side. */
const sidesFor = (side: number): number[] => [16, 24, 32, 48, 64, 96].filter((size) => size <= side)

/** What runs in some minutes on an adapter. */
export const suggestedSide = ({ adapterClass, isSample }: Pick<Suggested, 'adapterClass' | 'isSample'>): number =>
  adapterClass === 'cpu' ? (isSample ? 16 : 24) : isSample ? 32 : 64

export class Settings {
  private readonly form = find<HTMLFormElement>('settings')
  private fields = new Map<string, Field>()
  private weightIsOwn = false

  /** @param onChange called when the side of views changes */
  constructor(private readonly onChange: () => void) {
    this.form.addEventListener('submit', (event) => event.preventDefault())
    this.form.addEventListener('change', (event) => this.changed(event.target as HTMLElement))
  }

  /** Fills the form for pictures and an adapter, or with the options of a run. */
  start(suggested: Suggested, run?: PretrainConfig): void {
    const onProcessor = suggested.adapterClass === 'cpu'
    const objective = (run?.objective ?? 'barlow-twins') as Objective
    const dim = run?.projectorDim ?? 64
    const steps = run?.steps ?? (onProcessor ? 300 : 3000)
    const size = run?.augmentation.size ?? suggestedSide(suggested)
    const weight = run?.lambda ?? run?.temperature ?? weightOf(objective, dim)
    this.weightIsOwn = run !== undefined
    const among = (values: number[], chosen: number): number[] =>
      [...new Set([...values, chosen])].sort((a, b) => a - b)
    const main: Field[] = [
      {
        ...{ id: 'objective', label: 'Objective', help: 'What the network is asked to do' },
        input: select(
          Object.keys(OBJECTIVES),
          objective,
          Object.values(OBJECTIVES).map(({ name }) => name),
        ),
      },
      {
        ...{ id: 'dim', label: 'Numbers d', help: 'In the description of a view' },
        input: select(among([32, 64, 128, 256], dim), dim),
      },
      { id: 'weight', label: 'Weight λ', help: '', input: numeric(weight, { min: 0, step: 'any' }) },
      {
        ...{ id: 'width', label: 'Width', help: 'Channels of the network: wider sees more and is slower' },
        input: select(
          among(onProcessor ? [4, 8, 16, 32] : [8, 16, 32, 64], run?.width ?? (onProcessor ? 8 : 32)),
          run?.width ?? (onProcessor ? 8 : 32),
        ),
      },
      {
        ...{ id: 'size', label: 'Side of views', help: 'Pixels: larger views show more and are slower' },
        input: select(among(sidesFor(suggested.side), size), size),
      },
      {
        ...{ id: 'steps', label: 'Steps', help: 'How long it learns' },
        input: select(
          among([100, 300, 1000, 3000, 10000], steps),
          steps,
          among([100, 300, 1000, 3000, 10000], steps).map(formatCount),
        ),
      },
    ]
    const more: Field[] = [
      {
        ...{ id: 'batch', label: 'Pictures per step', help: 'More are steadier and slower' },
        input: numeric(run?.batch ?? Math.min(onProcessor ? 32 : 64, Math.max(2, Math.floor(suggested.count / 4))), {
          min: 2,
          step: 1,
        }),
      },
      {
        ...{ id: 'optimizer', label: 'Optimiser', help: 'How the network is changed' },
        input: select(['adam', 'sgd'], run?.optimizer ?? 'adam', ['Adam', 'SGD']),
      },
      {
        ...{ id: 'lr', label: 'Learning rate', help: 'How much it is changed' },
        input: numeric(run?.lr ?? 1e-3, { min: 0, step: 'any' }),
      },
      {
        ...{ id: 'seed', label: 'Seed', help: 'The same seed repeats the same run' },
        input: numeric(run?.seed ?? 1, { min: 0, step: 1 }),
      },
    ]
    this.fields = new Map([...main, ...more].map((field) => [field.id, field]))
    const details = element('details', {}, element('summary', {}, 'More choices'), grid(more))
    this.form.replaceChildren(grid(main), details)
    this.describe()
  }

  /** While a run lasts its choices cannot change. */
  lock(locked: boolean): void {
    for (const { input } of this.fields.values()) input.disabled = locked
  }

  /** Shows what is wrong with the values, if anything is. */
  get isValid(): boolean {
    const details = this.form.querySelector('details')
    if (details && !this.form.checkValidity()) details.open = true
    return this.form.reportValidity()
  }

  get size(): number {
    return this.number('size')
  }

  /** The options of a run, without its views. */
  get config(): PartialConfig {
    const objective = this.text('objective') as Objective
    const size = this.number('size')
    return {
      objective,
      [objective === 'simclr' ? 'temperature' : 'lambda']: this.number('weight'),
      ...{ arch: 'resnet18', width: this.number('width'), stem: size >= 64 ? 'imagenet' : 'cifar' },
      ...{ projectorDim: this.number('dim'), steps: this.number('steps'), batch: this.number('batch') },
      ...{ optimizer: this.text('optimizer') as 'adam' | 'sgd', lr: this.number('lr'), seed: this.number('seed') },
    }
  }

  private changed(target: HTMLElement): void {
    if (target.id === 'weight') this.weightIsOwn = true
    if (target.id === 'objective') this.weightIsOwn = false
    if (['objective', 'dim'].includes(target.id)) this.describe()
    if (target.id === 'size') this.onChange()
  }

  /** What the objective asks, and its weight. */
  private describe(): void {
    const objective = this.text('objective') as Objective
    setText(find('objective-text'), OBJECTIVES[objective].text)
    const { input } = this.fields.get('weight')!
    if (!this.weightIsOwn) input.value = String(weightOf(objective, this.number('dim')))
    const [label, help] = objective === 'simclr' ? ['Temperature', 'Low values are strict'] : ['Weight λ', 'See above']
    setText(input.labels![0], label)
    setText(find('help-weight'), help)
  }

  private text(id: string): string {
    return this.fields.get(id)!.input.value
  }

  private number(id: string): number {
    return Number(this.text(id))
  }
}

function grid(fields: readonly Field[]): HTMLElement {
  return element(
    'div',
    { class: 'fields' },
    ...fields.map(({ id, label, help, input }) => {
      input.id = id
      input.setAttribute('aria-describedby', `help-${id}`)
      return element(
        'div',
        { class: 'field' },
        element('label', { for: id }, label),
        input,
        element('p', { id: `help-${id}`, class: 'hint' }, help),
      )
    }),
  )
}
