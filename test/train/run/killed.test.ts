/** A run whose process dies between its last checkpoint and its end: resumed, it ends as if nothing had happened. */
import { expect, test } from 'vitest'
import { resolveConfig } from '../../../train/config/config.js'
import { fromArrays } from '../../../train/data/dataset.js'
import { checkpointName, checkpointPath, isResumable, readSummary } from '../../../train/run/folder.js'
import { readLines } from '../../../train/run/metrics.js'
import { pretrain } from '../../../train/run/pretrain.js'
import type { RunStore } from '../../../train/run/store.js'
import { engine } from '../../support/engine.js'
import { colourfulImages } from '../../support/images.js'
import { memoryStore } from '../../support/memory_store.js'

const STEPS = 2

const labelled = (count: number, split: 'train' | 'test') => {
  const { images, height, width } = colourfulImages(count)
  const labels = Uint32Array.from({ length: count }, (_, i) => i % 3)
  return fromArrays({ images, height, width, labels, classes: ['a', 'b', 'c'], split })
}
const [dataset, testSplit] = [labelled(16, 'train'), labelled(12, 'test')]
const config = resolveConfig({
  ...{ data: 'own images', width: 4, views: 2, projectorDim: 8, batch: 8, epochs: 1, checkpointEvery: 1 },
  ...{ onlineProbe: true, augmentation: { size: 8 } },
})

/** A store that fails from its n-th change on, as if the process had died before it. `made` gets the names of changes. */
function dyingStore(store: RunStore, changes: number, made: string[] = []): RunStore {
  const living = <A extends unknown[]>(change: (path: string, ...args: A) => Promise<void>) =>
    async function (path: string, ...args: A): Promise<void> {
      if (made.length >= changes) throw new Error('killed')
      made.push(path)
      await change(path, ...args)
    }
  return {
    ...store,
    write: living(store.write),
    writeFolder: living(store.writeFolder),
    append: living(store.append),
    remove: living(store.remove),
  }
}

const run = async (out: RunStore) =>
  pretrain({
    ...{ engine: await engine(), dataset, test: testSplit, config, out, diagnosisShare: 0 },
    resume: await isResumable(out),
  })

async function resultsOf(files: Map<string, Uint8Array>) {
  const store = memoryStore(files)
  const path = (file: string): string => checkpointPath(checkpointName(STEPS), file)
  return {
    names: [...files.keys()].sort(),
    model: files.get(path('model.safetensors')),
    state: files.get(path('state.safetensors')),
    steps: (await readLines(store, 'metrics.jsonl')).map(({ step, loss, lr }) => [step, loss, lr]),
    online: await readLines(store, 'online.jsonl'),
    stopped: (await readSummary(store))?.stopped,
    finalLoss: (await readSummary(store))?.finalLoss,
  }
}

test('whatever it was about to write after its last checkpoint, a run that died and is resumed equals one that lived', async () => {
  const whole = new Map<string, Uint8Array>()
  const changes: string[] = []
  await run(dyingStore(memoryStore(whole), Infinity, changes))
  const expected = await resultsOf(whole)
  expect(expected.online.map(({ step }) => step)).toEqual([STEPS])
  const first = changes.indexOf('checkpoints/step-00000002')
  expect(changes.slice(first)).toEqual(['checkpoints/step-00000002', 'online.jsonl', 'summary.json'])
  for (let deaths = first + 1; deaths < changes.length; deaths++) {
    const files = new Map<string, Uint8Array>()
    await expect(run(dyingStore(memoryStore(files), deaths))).rejects.toThrow('killed')
    await run(memoryStore(files))
    expect(await resultsOf(files), `dead before ${changes[deaths]}`).toEqual(expected)
  }
})
