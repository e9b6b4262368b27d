/** The contact sheet of live views, and the sliders that change how views are made. */
import type { Tile } from '../../augment/pictures.js'
import type { AugmentationRecipe } from '../../augment/recipe.js'
import type { PartialAugmentation } from '../../config/config.js'
import { element, find, paint } from './dom.js'

/** Pictures on the sheet. */
const ROWS = 6

interface Slider {
  name: string
  /** What it does, for whoever hovers or reads. */
  help: string
  min: number
  max: number
  step: number
  /** From the recipe. */
  start(recipe: AugmentationRecipe): number
  show(value: number): string
}

const percent = (value: number): string => `${Math.round(100 * value)} %`
const first = (byView: number | number[]): number => (typeof byView === 'number' ? byView : byView[0])
const share = { min: 0, max: 1, step: 0.05, show: percent }

const sliders = {
  views: {
    ...{ name: 'Views of each picture', help: 'More views teach more with each picture.', min: 2, max: 8, step: 1 },
    start: () => 4,
    show: String,
  },
  crop: {
    ...{
      name: 'Smallest crop',
      help: 'The smallest part of a picture that a view may show.',
      ...share,
      min: 0.02,
      step: 0.01,
    },
    start: ({ scale }) => scale[0],
  },
  jitter: {
    ...{ name: 'Colour jitter', help: 'How strongly brightness, contrast and saturation change.', ...share },
    start: ({ jitter }) => jitter.brightness,
  },
  greyscale: {
    ...{ name: 'Greyscale', help: 'How often a view loses its colours.', ...share },
    start: ({ greyscale }) => greyscale,
  },
  blur: {
    ...{ name: 'Blur', help: 'How often a view is blurred.', ...share },
    start: ({ blur }) => first(blur.probability),
  },
  solarize: {
    ...{ name: 'Solarise', help: 'How often bright parts of a view are inverted.', ...share },
    start: ({ solarize }) => first(solarize),
  },
  flip: {
    ...{ name: 'Flip', help: 'How often left and right change places.', ...share },
    start: ({ flip }) => flip,
  },
} satisfies Record<string, Slider>

type Name = keyof typeof sliders

/** Share of a view's width that a blur reaches over: wide enough to be seen on small views. */
const BLUR_WINDOW = 0.2

export class Views {
  private readonly inputs = new Map<Name, HTMLInputElement>()
  private readonly sheet = find('sheet')
  private draws = 0

  /** @param onChange called when a slider moves, or other views are wanted */
  constructor(private readonly onChange: () => void) {
    const at = find('sliders')
    for (const [key, { name, help, min, max, step, show }] of Object.entries(sliders) as [Name, Slider][]) {
      const output = element('output', {})
      const input = element('input', {
        ...{ type: 'range', min, max, step, id: `slider-${key}`, 'aria-describedby': `help-${key}` },
        oninput: () => {
          this.label(input, output, show)
          this.onChange()
        },
      })
      this.inputs.set(key, input)
      at.append(
        element(
          'div',
          { class: 'slider' },
          element('label', { for: input.id }, name),
          output,
          input,
          element('p', { id: `help-${key}`, class: 'hint' }, help),
        ),
      )
    }
    find('redraw').addEventListener('click', () => {
      this.draws++
      this.onChange()
    })
  }

  /** Sets the sliders. */
  start(recipe: AugmentationRecipe, views?: number): void {
    for (const [key, input] of this.inputs) {
      const slider: Slider = sliders[key]
      input.value = String(key === 'views' && views !== undefined ? views : slider.start(recipe))
      this.label(input, input.previousElementSibling as HTMLElement, slider.show)
    }
  }

  /** While a run lasts its views cannot change. */
  lock(locked: boolean): void {
    for (const input of this.inputs.values()) input.disabled = locked
  }

  get count(): number {
    return this.value('views')
  }

  /** Chooses other random numbers. */
  get draw(): number {
    return this.draws
  }

  /** What the sliders change in the recipe. */
  get augmentation(): PartialAugmentation {
    const strength = this.value('jitter')
    const blur = this.value('blur')
    return {
      scale: [this.value('crop'), 1],
      flip: this.value('flip'),
      jitter: { brightness: strength, contrast: strength, saturation: strength },
      greyscale: this.value('greyscale'),
      ...(blur > 0 && { blur: { probability: blur, window: BLUR_WINDOW } }),
      solarize: this.value('solarize'),
    }
  }

  /** The pictures on the sheet, of so many. */
  images(count: number): number[] {
    return Array.from({ length: Math.min(ROWS, count) }, (_, i) => i)
  }

  /** @param rows a picture, then its views */
  show(rows: readonly Tile[][]): void {
    const columns = rows[0]?.length ?? 0
    this.sheet.style.setProperty('--columns', String(columns))
    this.sheet.replaceChildren(
      ...rows.flatMap((row) =>
        row.map((tile, i) => {
          const canvas = element('canvas', { class: i === 0 ? 'original' : 'view' })
          paint(canvas, tile)
          return canvas
        }),
      ),
    )
    this.sheet.setAttribute('aria-label', `${rows.length} pictures, each with ${columns - 1} views`)
  }

  private value(key: Name): number {
    return Number(this.inputs.get(key)!.value)
  }

  private label(input: HTMLInputElement, output: HTMLElement, show: (value: number) => string): void {
    output.textContent = show(Number(input.value))
    input.setAttribute('aria-valuetext', output.textContent)
  }
}
