/** Runs that are killed at random moments, again and again: each must end with the bits of a run that nobody killed. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { Purpose, RandomStream } from '../../engine/index.js'
import { encodeRecords } from '../../train/data/cifar_records.js'
import { killAtRandom, pretrainProcess, remainsIn, resultsOf } from '../support/kill_loop.js'

const IMAGES = 24
/** Kills of one run; then another run begins, with other moments. */
const KILLS_PER_RUN = 10
/** A kill comes so many milliseconds after the first step at most: some hit the start, some a checkpoint. */
const MOST_MS = 1200

export interface KilledRun {
  kills: number
  /** The same weights, state and lines as a run that was not killed. */
  sameBits: boolean
  /** Locks and temporary files that are left. */
  remains: string[]
  /** The message of a run that did not end well. */
  failure?: string
}

/** Kills runs until the number of kills is reached. @param onRun called after each run */
export async function attackByKills(
  { kills, seed }: { kills: number; seed: number },
  onRun: (run: KilledRun) => void,
): Promise<KilledRun[]> {
  const folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-kills-'))
  const data = join(folder, 'data')
  try {
    await mkdir(data)
    const random = new RandomStream(seed, Purpose.subset)
    const pixels = Uint8Array.from({ length: IMAGES * 3072 }, () => random.integer(256))
    const labels = Array.from({ length: IMAGES }, (_, i) => i % 10)
    await writeFile(join(data, 'data_batch_1.bin'), encodeRecords(pixels, labels))
    const args = [
      ...['--data-dir', data, '--width', '4', '--image-size', '8', '--views', '2', '--projector-dim', '8'],
      ...['--batch', '8', '--epochs', '200', '--checkpoint-every', '3'],
    ]
    const whole = await pretrainProcess([...args, '--out', join(folder, 'whole')])
    if (whole.code !== 0) throw new Error(whole.stderr)
    const expected = await resultsOf(join(folder, 'whole'))
    const runs: KilledRun[] = []
    for (let left = kills; left > 0;) {
      const out = join(folder, `killed-${runs.length}`)
      const wanted = Math.min(left, KILLS_PER_RUN)
      const { last, killed } = await killAtRandom({
        args,
        out,
        kills: wanted,
        seed: seed + runs.length,
        mostMs: MOST_MS,
      })
      const ended = last.code === 0
      const run: KilledRun = {
        kills: killed,
        sameBits: ended && isDeepStrictEqual(await resultsOf(out), expected),
        remains: await remainsIn(out),
        ...(!ended && { failure: last.stderr.trim().split('\n').pop() }),
      }
      runs.push(run)
      onRun(run)
      left -= Math.max(1, killed)
    }
    return runs
  } finally {
    await rm(folder, { recursive: true })
  }
}
