import { Engine, fromArrays, isResumable, originStore, pretrain, requestDevice, resolveConfig } from '../../train/index.js'

const say = (text: string) => document.body.append(Object.assign(document.createElement('pre'), { textContent: text }))
// Yours: bytes [count, height, width, RGB]. Here 64 pictures of stripes, each with colours and a direction of its own.
const pixels = new Uint8Array(64 * 24 * 24 * 3).map((_, i) => {
  const [picture, y, x, channel] = [Math.floor(i / 1728), Math.floor(i / 72) % 24, Math.floor(i / 3) % 24, i % 3]
  const position = x * Math.cos(picture) + y * Math.sin(picture)
  return 128 + 127 * Math.sin(picture * (channel + 1) + 0.4 * position)
})
const dataset = fromArrays({ images: pixels, height: 24, width: 24, name: 'mine' })
const network = { data: 'mine', width: 8, projectorDim: 32, lambda: 0.04, augmentation: { size: 16 } }
const config = resolveConfig({ ...network, views: 2, batch: 16, epochs: 4, lr: 0.01 })
try {
  const adapter = await navigator.gpu?.requestAdapter()
  if (!adapter) throw new Error('This browser has no WebGPU here.')
  const engine = new Engine(await requestDevice(adapter), adapter.info)
  const out = originStore('runs/mine') // the browser keeps the run, also when the tab is closed
  const resume = await isResumable(out) // then a page that is loaded again continues
  await pretrain({ engine, dataset, config, out, resume, onStep: (m) => say(`step ${m.step}: loss ${m.loss.toFixed(2)}`) })
  say((await out.readText('summary.json')) ?? '')
} catch (error) {
  say(String(error))
}
