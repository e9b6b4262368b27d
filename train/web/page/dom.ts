/** Elements of the page. */

type Properties = Record<string, string | number | boolean | EventListener | undefined>

/** Makes an element. Functions become properties, for example `onclick`; everything else becomes attributes. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === 'function') Object.assign(made, { [name]: value })
    else if (value === true) made.setAttribute(name, '')
    else if (value !== undefined && value !== false) made.setAttribute(name, String(value))
  }
  made.append(...children)
  return made
}

/** An element of index.html. */
export function find<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id)
  if (!found) throw new Error(`the page has no #${id}`)
  return found as T
}

/** Sets a text if it changed, so that screen readers do not repeat it. */
export function setText(at: HTMLElement, text: string): void {
  if (at.textContent !== text) at.textContent = text
}

/** Draws RGB bytes [height, width, 3] on a canvas, in their own size. */
export function paint(
  canvas: HTMLCanvasElement,
  { pixels, height, width }: { pixels: ArrayLike<number>; height: number; width: number },
): void {
  canvas.width = width
  canvas.height = height
  const context = canvas.getContext('2d')!
  const image = context.createImageData(width, height)
  for (let i = 0; i < height * width; i++) {
    image.data[4 * i] = pixels[3 * i]
    image.data[4 * i + 1] = pixels[3 * i + 1]
    image.data[4 * i + 2] = pixels[3 * i + 2]
    image.data[4 * i + 3] = 255
  }
  context.putImageData(image, 0, 0)
}

/** Says something to screen readers, at most once in a while. */
const QUIET_MS = 20_000
let spoken = -Infinity
export function announce(text: string, important = false): void {
  if (!important && performance.now() - spoken < QUIET_MS) return
  spoken = performance.now()
  setText(find('news'), text)
}

/** A colour of the style in the present theme, as a canvas wants it. */
export function colorOf(variable: string): string {
  const probe = element('span', { hidden: true })
  probe.style.color = `var(${variable})`
  document.body.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}
