import { Engine, fromArrays, isResumable, originStore, pretrain, requestDevice, resolveConfig } from '../../train/index.js'

const adapter = await navigator.gpu?.requestAdapter()
if (!adapter) throw new Error('this browser has no WebGPU')
const engine = new Engine(await requestDevice(adapter), adapter.info)
const pixels = new Uint8Array(64 * 24 * 24 * 3).map(() => 256 * Math.random()) // yours: [count, height, width, RGB]
const dataset = fromArrays({ images: pixels, height: 24, width: 24, name: 'mine' })
const config = resolveConfig({ data: 'mine', width: 8, views: 2, batch: 16, projectorDim: 16, epochs: 3, augmentation: { size: 16 } })
const out = originStore('runs/mine') // the browser keeps the run, also when the tab is closed
const resume = await isResumable(out)
await pretrain({ engine, dataset, config, out, resume, onStep: (m) => document.body.append(`${m.step}: ${m.loss.toFixed(2)} `) })
const summary = document.createElement('pre')
summary.textContent = (await out.readText('summary.json')) ?? ''
document.body.append(summary)
