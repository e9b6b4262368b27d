/** `npm run rooms`: draws `.github/rooms.svg`, the rooms of this repository and the imports between them. */
import { Graphviz } from '@hpcc-js/wasm-graphviz'
import { writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { essentialArrows, fileImports, folders, roomArrows, type Arrow } from './imports.js'

export const drawing = new URL('../../.github/rooms.svg', import.meta.url)

/** Colours by class, for light and dark pages. The picture has its own background, so each works on any page. */
const style = `
  .graph > polygon { fill: #ffffff; }
  .folder > path, .folder > polygon { fill: #f3f5f8; stroke: #d5dae1; }
  .room > path, .room > polygon { fill: #ffffff; stroke: #6b7685; }
  .arrow > path { stroke: #6b7685; fill: none; } .arrow > polygon { stroke: #6b7685; fill: #6b7685; }
  .cyclic > path { stroke: #cf222e; fill: none; } .cyclic > polygon { stroke: #cf222e; fill: #cf222e; }
  text { fill: #1f2328; } .arrow > text { fill: #59636e; } .cyclic > text { fill: #cf222e; }
  @media (prefers-color-scheme: dark) {
    .graph > polygon { fill: #0d1117; }
    .folder > path, .folder > polygon { fill: #151b23; stroke: #3d444d; }
    .room > path, .room > polygon { fill: #212830; stroke: #9198a1; }
    .arrow > path { stroke: #9198a1; } .arrow > polygon { stroke: #9198a1; fill: #9198a1; }
    .cyclic > path { stroke: #ff7b72; } .cyclic > polygon { stroke: #ff7b72; fill: #ff7b72; }
    text { fill: #f0f6fc; } .arrow > text { fill: #b7bdc8; } .cyclic > text { fill: #ff7b72; }
  }
`

const font = 'Helvetica,Arial,sans-serif'
const caption = [
  'An arrow means: imports values from. The number counts the imports.',
  'Arrows that follow from a chain of others are left out.',
  'Red: rooms that import each other.',
].join('\\n')

/** The name of a room inside its folder's box. */
function labelIn(folder: string, room: string): string {
  if (room === folder) return '*.ts'
  const name = room.slice(folder.length + 1)
  return name.endsWith('.ts') ? name : `${name}/`
}

/** Graphviz's own language: a cluster for each folder, a box for each room, an arrow for each pair of rooms. */
function toDot(arrows: readonly Arrow[]): string {
  const rooms = [...new Set(arrows.flatMap(({ from, to }) => [from, to]))].sort()
  const clusters = folders.map((folder) => {
    const inside = rooms.filter((room) => room.split('/')[0] === folder)
    if (inside.length < 2) return inside.map((room) => `"${room}" [label="${room}/", class="room"]`).join('; ')
    const nodes = inside.map((room) => `"${room}" [label="${labelIn(folder, room)}", class="room"]`)
    return `subgraph "cluster_${folder}" {
      class="folder"; label="${folder}/"; fontsize=15; labeljust=l; style=rounded; margin=10
      ${nodes.join('; ')}
    }`
  })
  const edges = arrows.map(
    ({ from, to, count, cyclic }) =>
      `"${from}" -> "${to}" [label=" ${count}", class="${cyclic ? 'cyclic' : 'arrow'}"${cyclic ? ', penwidth=2' : ''}]`,
  )
  return `digraph rooms {
    graph [rankdir=TB, ranksep=0.22, nodesep=0.35, pad=0.2, fontname="${font}", fontsize=12, label="${caption}"]
    node [shape=box, style="rounded,filled", height=0.36, width=0.8, fontname="${font}", fontsize=14]
    edge [arrowsize=0.7, fontname="${font}", fontsize=12]
    ${[...clusters, ...edges].join('\n    ')}
  }`
}

/** The drawing as SVG text. */
export async function drawRooms(arrows: readonly Arrow[]): Promise<string> {
  const svg = (await Graphviz.load()).dot(toDot(arrows))
  const start = svg.indexOf('<svg')
  const end = svg.indexOf('>', start) + 1
  return `${svg.slice(start, end)}\n<style>${style}</style>${svg.slice(end)}`
}

/** The arrows that a drawing shows, as `from -> to`, sorted. */
export function arrowsDrawn(svg: string): string[] {
  const titles = [...svg.matchAll(/<title>([^<]*)<\/title>/g)].map(([, title]) =>
    title.replaceAll('&#45;', '-').replaceAll('&gt;', '>'),
  )
  return titles
    .filter((title) => title.includes('->'))
    .map((title) => title.replace('->', ' -> '))
    .sort()
}

/** The arrows to draw for the imports as they are. */
export const currentArrows = async (): Promise<Arrow[]> => essentialArrows(roomArrows(await fileImports()))

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  writeFileSync(drawing, await drawRooms(await currentArrows()))
