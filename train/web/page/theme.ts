/** Light or dark: as the system, or as the user chooses. */
import { find } from './dom.js'

const KEY = 'theme'

/** @param onChange called when colours have changed */
export function followTheme(onChange: () => void): void {
  const select = find<HTMLSelectElement>('theme')
  const apply = (theme: string): void => {
    if (theme === 'system') delete document.documentElement.dataset.theme
    else document.documentElement.dataset.theme = theme
    onChange()
  }
  select.value = localStorage.getItem(KEY) ?? 'system'
  apply(select.value)
  select.addEventListener('change', () => {
    localStorage.setItem(KEY, select.value)
    apply(select.value)
  })
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', onChange)
}
