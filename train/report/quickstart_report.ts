/** The report of the quickstart: one HTML file that includes its pictures. */
import { html, Html, page, pngUrl } from './html.js'
import { barChart, describeLines, lineChart, type Series } from './plots.js'
import { bars, findings, withError, type Arm, type QuickstartSummary } from './quickstart_summary.js'
import { counted, describeViews, duration, formatCount } from './text.js'

/** A picture with its class. */
export interface LabelledPicture {
  png: Uint8Array
  label: string
}

/** A test image, and for each network the training images nearest to it. */
export interface NeighbourRow {
  query: LabelledPicture
  found: { name: string; neighbours: LabelledPicture[] }[]
}

/** The section of an absent part is left out. */
export interface QuickstartPictures {
  views?: { png: Uint8Array; count: number }
  neighbours?: NeighbourRow[]
}

const UNTRAINED = '#8b95a1'
/** Readable on light and dark pages, and distinct for readers who confuse red and green. */
const PRETRAINED = ['#e08214', '#3b82d6']

const style = `
.findings { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); column-gap: 2rem }
.finding { display: grid; grid-template-columns: minmax(3.4rem, 4.5rem) 1fr; gap: .7rem; padding: .7rem 0; border-bottom: 1px solid var(--line); align-items: center }
.finding img { width: 100%; display: block; border-radius: 3px }
.finding .row { display: grid; grid-template-columns: 4.6rem repeat(6, minmax(1.5rem, 3.6rem)); gap: .3rem; align-items: center; font-size: .8rem; color: var(--soft); margin: .15rem 0 }
.finding .query { font-size: .8rem; color: var(--soft); text-align: center }
.finding .same { outline: 3px solid var(--good); outline-offset: -1px }
@media (max-width: 34rem) {
  .finding .row { grid-template-columns: repeat(6, 1fr) }
  .finding .row span { grid-column: 1 / -1 }
}
`

const coloured = (arms: readonly Arm[]): { name: string; color: string }[] => {
  const names = arms.filter(({ training }) => training).map(({ name }) => name)
  return arms.map(({ name, training }) => ({ name, color: training ? PRETRAINED[names.indexOf(name) % 2] : UNTRAINED }))
}

/**
 * Renders the report.
 *
 * @param summary arms may lack any of their parts; the page leaves missing parts out
 * @returns the text of an HTML file that loads nothing from outside
 */
export async function quickstartReport(summary: QuickstartSummary, pictures: QuickstartPictures = {}): Promise<string> {
  const { dataset, network, readout, adapter } = summary
  const body = html` <p class="soft">webgpu-ssl · quickstart · ${day(summary.date)}</p>
    <h1>What a network learns from unlabelled pictures in ${roughly(longest(summary))}</h1>
    <p class="lead">${findings(summary)}</p>
    <p>
      Two copies of one ${nameOf(network.arch)} were pretrained on ${dataset.name} with multi-view Barlow Twins, without
      labels: they learn to give different views of an image the same projection, whose coordinates are not correlated.
      Both copies see equally many views per step: one sees few views of many images, the other more views of fewer
      images. Afterwards the frozen copies and the untrained network were read out with labels.
    </p>
    ${await results(summary)} ${pictures.views ? viewsSection(pictures.views, network.imageSize) : undefined}
    ${await lossSection(summary)} ${pictures.neighbours?.length ? neighboursSection(pictures.neighbours) : undefined}
    <h2>What was run</h2>
    <dl>
      <dt>Adapter</dt>
      <dd>${adapter.description} (${adapter.kind})</dd>
      <dt>When</dt>
      <dd>${day(summary.date)}, ${duration(summary.seconds)} in all</dd>
      <dt>Data</dt>
      <dd>${dataset.name}: ${formatCount(dataset.count)} images to pretrain on, ${dataset.classes.length} classes</dd>
      <dt>Network</dt>
      <dd>
        ${nameOf(network.arch)}, width ${network.width}, ${formatCount(network.parameters)} parameters,
        ${network.features} features; views of ${network.imageSize}×${network.imageSize} pixels
      </dd>
      <dt>Objective</dt>
      <dd>multi-view Barlow Twins, projector width d = ${network.projectorDim}, λ = ${network.lambda}</dd>
      <dt>Optimiser</dt>
      <dd>Adam, learning rate ${network.lr}, weight decay ${network.weightDecay}; seed ${network.seed}</dd>
      <dt>Readout</dt>
      <dd>
        ${formatCount(readout.trainCount)} labelled training images and ${formatCount(readout.testCount)} test images,
        the first of each class in the order of the data set; ${describeViews(readout.views)} per image; linear probe:
        mean of ${counted(readout.seeds.length, 'probe seed')}
      </dd>
    </dl>
    ${nextSection(summary)}`
  return page({ title: 'webgpu-ssl quickstart', style, body })
}

async function results(summary: QuickstartSummary): Promise<Html | undefined> {
  const measured = bars(summary)
  if (measured.length === 0) return undefined
  const { arms, dataset, readout } = summary
  const svg = await barChart({
    bars: measured,
    names: coloured(arms),
    y: 'test accuracy (%)',
    chance: dataset.classes.length ? 1 / dataset.classes.length : undefined,
    description: `Test accuracy of ${arms.map(({ name }) => name).join(', ')} by linear probe and nearest neighbours`,
  })
  const row = ({ name, training: t, linear, knn20 }: Arm) =>
    html` <tr>
      <th scope="row">${name}</th>
      <td class="n">${withError(linear)}</td>
      <td class="n">${withError(knn20)}</td>
      <td class="n">${t ? `${t.batch} × ${t.views}` : '–'}</td>
      <td class="n">${t ? formatCount(t.steps) : '–'}</td>
      <td class="n">${t ? duration(t.seconds) : '–'}</td>
    </tr>`
  const spread = Math.max(0, ...arms.map(({ linear }) => linear?.seedStandardError ?? 0))
  return html`<h2>Accuracy of the features</h2>
    <div class="table">
      <table>
        <tr>
          <th></th>
          <th class="n">linear probe</th>
          <th class="n">kNN-20</th>
          <th class="n">images × views</th>
          <th class="n">steps</th>
          <th class="n">time</th>
        </tr>
        ${arms.map(row)}
      </table>
    </div>
    <div class="side">
      <figure>${new Html(svg)}</figure>
      <p class="soft">
        Top-1 on ${formatCount(readout.testCount)} test images, read with ${describeViews(readout.views)} per image. ±
        and the whiskers show one standard error over the test
        images${spread > 0 ? `; over the seeds of the probes it is at most ${(100 * spread).toFixed(1)} points` : ''}.
        The dashed line is the accuracy of guessing. Figures with more views, more labelled images or another image size
        do not compare with these.
      </p>
    </div>`
}

const viewsSection = ({ png, count: m }: { png: Uint8Array; count: number }, size: number) =>
  html`<h2>The views</h2>
    <p>
      Each row shows an image and ${m} of its views in the first epoch: random crops, resized to ${size}×${size} pixels,
      some flipped or grey, with changed brightness, contrast and saturation. All views are made on the GPU.
    </p>
    <div class="sheet"><img src="${pngUrl(png)}" alt="Images, each followed by ${m} augmented views" /></div>`

async function lossSection({ arms }: QuickstartSummary): Promise<Html | undefined> {
  const colours = new Map(coloured(arms).map(({ name, color }) => [name, color]))
  const trained = arms.filter(({ training }) => training && training.losses.length > 1)
  if (trained.length === 0) return undefined
  const curves = (x: (arm: Arm, i: number) => number): Series[] =>
    trained.map((arm) => ({
      name: arm.name,
      color: colours.get(arm.name)!,
      points: arm.training!.losses.map((loss, i) => ({ x: x(arm, i), y: loss })),
    }))
  const over = (axis: string, x: (arm: Arm, i: number) => number) =>
    lineChart({ series: curves(x), x: axis, y: 'loss', description: `Training loss over ${axis}` })
  return html`<h2>Training loss</h2>
    <div class="side">
      <figure>${new Html(await over('steps', (_, i) => i + 1))}</figure>
      <figure>${new Html(await over('seconds', ({ training }, i) => training!.times[i]))}</figure>
    </div>
    <p class="soft">
      ${describeLines(Math.max(...trained.map(({ training }) => training!.losses.length)))} With two views the loss
      compares one view with the other. With more views it compares each view with their mean, over fewer images.
      Compare the shapes of the curves, not their heights.
    </p>`
}

function neighboursSection(rows: readonly NeighbourRow[]): Html {
  const picture = ({ png, label }: LabelledPicture, like?: string) =>
    html`<img
      src="${pngUrl(png)}"
      alt="${label}"
      title="${label}"
      ${new Html(label === like ? ' class="same"' : '')}
    />`
  const tally = rows[0].found.map(({ name }, f) => {
    const near = rows.flatMap(({ query, found }) => found[f].neighbours.map(({ label }) => label === query.label))
    return `${name} ${near.filter(Boolean).length} of ${near.length}`
  })
  return html`<h2>Neighbours in feature space</h2>
    <p>
      On the left is the first test image of each class. Beside it are the training images with the nearest features by
      cosine similarity, nearest first. A green frame marks the same class: ${tally.join(', ')}. Labels are used only
      for the frames.
    </p>
    <div class="findings">
      ${rows.map(
        ({ query, found }) =>
          html`<div class="finding">
            <div class="query">${picture(query)}${query.label}</div>
            <div>
              ${found.map(
                ({ name, neighbours }) =>
                  html`<div class="row"><span>${name}</span>${neighbours.map((n) => picture(n, query.label))}</div>`,
              )}
            </div>
          </div> `,
      )}
    </div>`
}

function nextSection({ arms, adapter, network }: QuickstartSummary): Html {
  const folder = arms.findLast(({ training }) => training)?.training?.folder
  const software = adapter.kind !== 'hardware'
  return html`<h2>What to try next</h2>
    <pre><code>${folder ? `# the same network, read on all labelled images\nnpm run probe -- --run ${folder}\n\n` : ''}# more views, enlarged
npm run views -- --out views.png --views 12

# ${software ? 'a longer run, which can be stopped and resumed' : 'a run as long as in the paper'}
npm run pretrain -- --data cifar10 --arch resnet18 --width ${network.width} --image-size ${network.imageSize} --views 4 \\
  --projector-dim ${network.projectorDim} --lambda ${network.lambda} --batch ${software ? 64 : 128} --epochs ${software ? 10 : 100} --out runs/longer</code></pre>
    ${
      software
        ? html`<p class="soft">
            This ran on the CPU. On a hardware GPU the same command trains the network at full width, on images in their
            original size, for many more steps in the same time.
          </p>`
        : undefined
    }`
}

const longest = ({ arms, seconds }: QuickstartSummary): number =>
  Math.max(0, ...arms.map(({ training }) => training?.seconds ?? 0)) || seconds

/** Rounded time for the headline: `80 seconds`, `3 minutes`. */
const roughly = (seconds: number): string =>
  seconds < 105 ? `${Math.max(1, 10 * Math.round(seconds / 10))} seconds` : `${Math.round(seconds / 60)} minutes`

/** `ResNet-18` */
const nameOf = (arch: string): string => arch.replace('resnet', 'ResNet-')

/** `2026-01-31 17:05 UTC` */
const day = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`
