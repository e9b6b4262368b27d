/** HTML pages in one file: markup with escaping, and a page that loads nothing from outside. */

/** Markup that is inserted without escaping. */
export class Html {
  constructor(readonly text: string) {}
}

type Part = Html | string | number | undefined | readonly Part[]

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** Escapes text for markup and for quoted attributes. */
export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => entities[c])

function markup(part: Part): string {
  if (part === undefined) return ''
  if (part instanceof Html) return part.text
  if (typeof part === 'object') return part.map(markup).join('')
  return escapeHtml(String(part))
}

/** A template tag that escapes inserted text. Html is inserted as it is, lists are joined, undefined gives nothing. */
export const html = (strings: TemplateStringsArray, ...parts: Part[]): Html =>
  new Html(strings.reduce((text, piece, i) => text + markup(parts[i - 1]) + piece))

/** A data URL that holds the PNG bytes. */
export const pngUrl = (png: Uint8Array): string => `data:image/png;base64,${base64(png)}`

/** Bytes that fit into the arguments of one call. */
const PIECE = 8192

function base64(bytes: Uint8Array): string {
  let characters = ''
  for (let at = 0; at < bytes.length; at += PIECE) characters += String.fromCharCode(...bytes.subarray(at, at + PIECE))
  return btoa(characters)
}

const style = `
:root { color-scheme: light dark; --ink: #1c2530; --soft: #5b6673; --line: #dfe3e8; --page: #fff; --card: #f6f7f9; --good: #17864b; --link: #1d5fb0 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ed; --soft: #9aa5b1; --line: #333b45; --page: #14181d; --card: #1c2229; --good: #4cc38a; --link: #79b4f5 }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', sans-serif }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .5rem 0 }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .4rem; padding-top: .9rem; border-top: 1px solid var(--line) }
p { max-width: 44rem; margin: .5rem 0 }
.soft, figcaption, caption { color: var(--soft); font-size: .9rem }
.lead { font-size: 1.1rem }
figure { margin: .8rem 0 }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem; align-items: start }
svg { max-width: 100%; height: auto; color: var(--ink) }
img { image-rendering: pixelated; max-width: 100% }
.sheet { overflow-x: auto }
.table { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0 }
caption { text-align: left; caption-side: bottom; padding-top: .4rem }
th, td { padding: .35rem .9rem .35rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top }
td.n, th.n { text-align: right; white-space: nowrap }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .6rem 0 }
dt { color: var(--soft) } dd { margin: 0 }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; overflow-x: auto; font-size: .85rem }
code { font-family: ui-monospace, Menlo, Consolas, monospace }
`

/**
 * A whole page. Its content security policy forbids every request, so that the page shows only what is in the file.
 *
 * @param options.style additional CSS rules
 */
export function page(options: { title: string; style?: string; body: Html }): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta
          http-equiv="Content-Security-Policy"
          content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        />
        <title>${options.title}</title>
        <style>
          ${new Html(style + (options.style ?? ''))}
        </style>
      </head>
      <body>
        <main>${options.body}</main>
      </body>
    </html> `.text
}
