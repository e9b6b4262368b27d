/**
 * A process that takes a lock, for tests: `LOCK hold` holds it until the process is killed; `LOCK FILE` waits for it
 * and writes a line into FILE when it has it and when it gives it back.
 */
import { appendFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { takeLock, waitForLock } from '../../train/node/lock.js'

const [lock, file] = process.argv.slice(2)
if (file === 'hold') {
  await takeLock(lock, 'the place')
  console.log('held')
  await sleep(60_000)
} else {
  const release = await waitForLock(lock, 'the place')
  appendFileSync(file, `begin ${process.pid}\n`)
  await sleep(50)
  appendFileSync(file, `end ${process.pid}\n`)
  release()
}
