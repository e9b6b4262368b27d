/** A bar at the bottom of the window, which trains and pauses while the button of the section is out of sight. */
import { find, setText } from './dom.js'

export class Dock {
  private readonly dock = find('dock')
  private readonly button = find<HTMLButtonElement>('dock-train')

  constructor() {
    const train = find('train')
    this.button.addEventListener('click', () => train.click())
    new IntersectionObserver(([{ isIntersecting }]) => this.dock.classList.toggle('away', isIntersecting)).observe(
      train,
    )
    const link = find('dock-link')
    // The link leads to what is neither hidden nor seen already.
    const learned = find('learned')
    link.hidden = true
    new IntersectionObserver(([{ isIntersecting }]) => (link.hidden = learned.hidden || isIntersecting)).observe(
      learned,
    )
  }

  /** Shows what the button of the section shows. */
  follow({ textContent, disabled }: HTMLButtonElement): void {
    this.dock.hidden = false
    setText(this.button, textContent)
    this.button.disabled = disabled
  }

  say(text: string): void {
    setText(find('dock-text'), text)
  }

  /** @param share from 0 to 1 */
  progress(share: number): void {
    find<HTMLProgressElement>('dock-progress').value = share
  }
}
