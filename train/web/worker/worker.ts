/** The worker of the page: it owns the device, the pictures and the run, and answers the page's requests. */
import './no_eval.js'
import { Engine, requestDevice } from '../../../engine/index.js'
import { imagesWithViews } from '../../augment/pictures.js'
import { recipes } from '../../augment/recipe.js'
import { resolveConfig } from '../../config/config.js'
import { checkpointNames, isResumable, readConfig, stepOf } from '../../run/folder.js'
import { readLines } from '../../run/metrics.js'
import type { Events, KeptRun, Kind, Reply, Request, Requests } from '../protocol.js'
import { originStore } from '../origin_store.js'
import { keptName, loadFiles, loadKept, loadSample, SHOWN, type Loaded } from './pictures.js'
import { Session, type Place } from './session.js'

const RUNS = 'runs'

/** The part of a worker's global scope that is used here. TypeScript has the types of pages. */
const scope = globalThis as unknown as {
  postMessage(reply: Reply, transfer?: Transferable[]): void
  onmessage: ((message: MessageEvent<Request>) => void) | null
}

const tell = <E extends keyof Events>(event: E, data: Events[E]): void => scope.postMessage({ event, data } as Reply)

let engine: Engine | undefined
let loaded: Loaded | undefined
let session: Session | undefined

const place = (id: string): Place => ({ id, store: originStore(`${RUNS}/${id}`) })

function opened(): Engine {
  if (!engine) throw new Error('The worker has no device yet.')
  return engine
}

function pictures(): Loaded {
  if (!loaded) throw new Error('Choose pictures first.')
  return loaded
}

function running(): Session {
  if (!session) throw new Error('There is no run yet.')
  return session
}

/** Replaces the pictures, and forgets the run that learns from the former ones. */
async function show(next: Promise<Loaded>): Promise<Loaded['pictures']> {
  const found = await next
  await session?.close()
  session = undefined
  loaded = found
  return found.pictures
}

async function describeRun(id: string): Promise<KeptRun | undefined> {
  const { store } = place(id)
  if (!(await isResumable(store))) return undefined
  const { steps = 0, objective, width, views } = await readConfig(store)
  const names = await checkpointNames(store)
  const step = stepOf(names[names.length - 1])!
  return { id, pictures: await keptName(store), step, steps, objective, width, views }
}

const answers: { [K in Kind]: (input: Requests[K]['input']) => Promise<Requests[K]['output']> } = {
  async open() {
    // Absent where the page is not served over https or from this machine, and in old browsers.
    const gpu = navigator.gpu as GPU | undefined
    if (!gpu) throw new Error('no WebGPU')
    const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' })
    if (!adapter) throw new Error('no adapter')
    engine = new Engine(await requestDevice(adapter), adapter.info)
    const { vendor, architecture } = adapter.info
    const named = engine.description === vendor && architecture ? `${vendor} ${architecture}` : engine.description
    return { adapter: named, adapterClass: engine.target.adapterClass, recipe: recipes.cifar }
  },

  async runs() {
    const ids = await originStore(RUNS)
      .list('')
      .catch(() => [])
    const found = await Promise.all(ids.map((id) => describeRun(id).catch(() => undefined)))
    return found.filter((run) => run !== undefined).sort((a, b) => (a.id < b.id ? 1 : -1))
  },

  sample: () =>
    show(
      loadSample(opened().target.adapterClass, () =>
        tell('progress', { what: 'Loading CIFAR-10. The first time, 139 MB are downloaded', share: 0 }),
      ),
    ),

  pictures: ({ files, side }) =>
    show(
      loadFiles(files, {
        side,
        shown: SHOWN[opened().target.adapterClass],
        onProgress: (share) => tell('progress', { what: 'Reading pictures', share }),
      }),
    ),

  async views({ config, images, draw }) {
    const { augmentation: recipe, views, seed } = resolveConfig(config)
    return imagesWithViews(opened(), pictures().dataset, { recipe, views, images, seed, epoch: draw })
  },

  async train({ config }) {
    await session?.close()
    const id = new Date().toISOString().slice(0, 19).replaceAll(':', '-')
    session = Session.create(opened(), pictures(), place(id), tell, config)
    return session.train(false)
  },

  resume: ({ steps }) => running().train(true, steps),

  async pause() {
    running().pause()
    return undefined
  },

  async reopen({ id }) {
    const { store } = place(id)
    const kept = await loadKept(store, opened().target.adapterClass)
    await session?.close()
    session = undefined
    const found = await Session.reopen(opened(), kept, place(id), tell)
    loaded = kept
    session = found
    const metrics = (await readLines(store, 'metrics.jsonl')).filter(({ step }) => step <= found.stepsDone)
    // The page shows the run first, and then what the network makes of its pictures.
    setTimeout(() => void found.readFirst().catch((error: Error) => tell('message', { text: error.message })))
    return { pictures: kept.pictures, config: found.options, metrics, step: found.stepsDone, steps: found.steps }
  },

  async remove({ id }) {
    const isOpen = session?.id === id
    if (isOpen) await session?.close()
    if (isOpen) session = undefined
    await originStore(RUNS).remove(id)
    return isOpen
  },

  export: ({ format }) => running().export(format),
}

/** Library errors quote options. The page has no such names. */
const plain = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replaceAll('`', '').split('\n')[0]

scope.onmessage = ({ data: { id, kind, input } }) => {
  const answer = answers[kind] as (given: typeof input) => Promise<unknown>
  answer(input).then(
    (output) => scope.postMessage({ id, output }),
    (error: unknown) => scope.postMessage({ id, error: plain(error) }),
  )
}
