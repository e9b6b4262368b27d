/** What a person can do where there is no WebGPU. */
import { element, find } from './dom.js'

const BROWSERS = [
  'Chrome and Edge 113 or later on Windows, macOS, ChromeOS and Android',
  'Safari 26 or later on macOS, iOS and iPadOS',
  'Firefox 141 or later on Windows, 145 or later on macOS with Apple silicon',
  'Chrome on Linux: open chrome://flags, enable “Unsafe WebGPU Support” and “Vulkan”, and start it again',
]

export function showHelp(problem: string): void {
  find('help').hidden = false
  for (const id of ['pictures', 'views', 'choices', 'training', 'learned', 'neighbours', 'downloads'])
    find(id).hidden = true
  const { isSecureContext } = globalThis
  const hasGpu = 'gpu' in navigator
  find('adapter').textContent = 'No WebGPU'
  find('help-text').textContent = !isSecureContext
    ? 'WebGPU works only on pages that are served over https or from this machine. Open the page at such an address.'
    : hasGpu && problem === 'no adapter'
      ? 'The browser knows WebGPU, but it found no graphics processor. Switch on “Use graphics acceleration when available” in its settings and update the graphics driver, or use another browser:'
      : hasGpu && problem !== 'no WebGPU'
        ? `The graphics processor could not be opened: ${problem}. Load the page again, or use another browser:`
        : 'This page computes with WebGPU. These browsers have it:'
  find('help-list').replaceChildren(...(isSecureContext ? BROWSERS : []).map((text) => element('li', {}, text)))
}
