/** Goes on after the device was lost: on another device, from the last checkpoint. */
import { EngineError, type Engine } from '../../engine/index.js'
import { ConfigError } from '../config/config.js'
import { DivergedError } from './diverged.js'
import { checkpointNames, stepOf } from './folder.js'
import type { RunStore } from './store.js'

/** So many losses without a new checkpoint between them end a run. */
const MOST_LOSSES = 3

export interface LossOptions {
  engine: Engine
  out?: RunStore
  onMessage?(line: string): void
}

/**
 * Trains, and does so again on another device whenever the device is lost. Steps are functions of the state and of
 * (seed, epoch, image, view), so the run ends with the bits of a run without a loss.
 *
 * @param start the step of the checkpoint that the run begins from; undefined at its beginning
 * @param train `again` after a loss: trains from the last checkpoint, or from the beginning if there is none
 * @throws EngineError in one line if the device is lost several times without a new checkpoint, or cannot be opened again
 */
export async function throughLosses<T>(
  { engine, out, onMessage }: LossOptions,
  start: number | undefined,
  train: (again: boolean) => Promise<T>,
): Promise<T> {
  let before = start
  for (let losses = 0; ;) {
    try {
      return await train(losses > 0)
    } catch (error) {
      if (error instanceof DivergedError || error instanceof ConfigError) throw error
      if (!engine.reopen || !(await engine.wasLost())) throw error
      const last = out && (await lastStep(out))
      losses = last === before ? losses + 1 : 1
      before = last
      const from = last === undefined ? 'the beginning' : `the checkpoint of step ${last}`
      const message = lostMessage(engine)
      if (losses >= MOST_LOSSES)
        throw new EngineError(
          `${message}, ${losses} times in a row without a new checkpoint: ${last === undefined ? '' : 'the checkpoints are kept: `resume` continues the run; '}try a smaller \`batch\`, or another \`adapter\``,
          { cause: error },
        )
      await engine.renew()
      onMessage?.(`${message}: the run goes on from ${from} on a new device`)
    }
  }
}

/** The line that the engine has for the loss. */
function lostMessage(engine: Engine): string {
  try {
    engine.check()
    return 'the device was lost'
  } catch (error) {
    return (error as Error).message
  }
}

const lastStep = async (out: RunStore): Promise<number | undefined> => {
  const newest = (await checkpointNames(out)).at(-1)
  return newest === undefined ? undefined : stepOf(newest)
}
