import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { LockedError, madeOnce, takeLock, waitForLock } from '../../../train/node/lock.js'
import { liveness, thisProcess } from '../../../engine/node/process_identity.mjs'

let folder: string
let lock: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'webgpu-ssl-lock-'))
  lock = join(folder, '.lock')
})
afterEach(() => rm(folder, { recursive: true }))

const start = (...args: string[]): ChildProcess =>
  spawn(process.execPath, ['--import', 'tsx', 'test/support/lock_process.ts', lock, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
const holder = (fields: object) =>
  writeFile(lock, JSON.stringify({ ...thisProcess, id: '0'.repeat(32), since: 'yesterday', ...fields }))

test('a lock is held once, names its holder, and leaves nothing', async () => {
  const release = await takeLock(lock, 'the place')
  await expect(takeLock(lock, 'the place')).rejects.toThrow(
    new RegExp(`^the place is in use by process ${process.pid} since .*: wait for it, or stop it$`),
  )
  release()
  expect(await readdir(folder)).toEqual([])
  const again = await takeLock(lock, 'the place')
  again()
})

test('a lock of a killed process is taken over, by one process at a time', async () => {
  const child = start('hold')
  await once(child.stdout!, 'data')
  await expect(takeLock(lock, 'the place')).rejects.toThrow(`the place is in use by process ${child.pid} since `)
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(await readdir(folder)).toEqual(['.lock'])

  const lines = join(folder, 'lines')
  const contenders = Array.from({ length: 4 }, () => start(lines))
  await Promise.all(contenders.map((contender) => once(contender, 'exit')))
  const found = (await readFile(lines, 'utf8')).trimEnd().split('\n')
  expect(found).toHaveLength(8)
  for (let i = 0; i < found.length; i += 2) expect(found[i + 1]).toBe(found[i].replace('begin', 'end'))
  expect(await readdir(folder)).toEqual(['lines'])
})

describe('the holder', () => {
  test('with the pid of a later process is dead', async () => {
    if (thisProcess.started === '0') return
    await holder({ started: '1' })
    const release = await takeLock(lock, 'the place')
    release()
  })

  test('on another machine may live: the line says what to remove', async () => {
    await holder({ host: 'elsewhere' })
    const line = `the place is in use by process ${process.pid} on elsewhere since yesterday: if that process has ended, remove ${lock}`
    await expect(takeLock(lock, 'the place')).rejects.toThrow(line)
    await expect(waitForLock(lock, 'the place')).rejects.toThrow(LockedError)
  })

  test('is unknown in a broken lock file, which is replaced after some seconds', async () => {
    await writeFile(lock, '')
    await utimes(lock, 1, 1)
    const release = await takeLock(lock, 'the place')
    release()
    expect(await readdir(folder)).toEqual([])
  })

  test('that died while it took the lock over is replaced as well', async () => {
    const dead = { host: hostname(), pid: 2 ** 22 + 1, since: 'yesterday', started: '1' }
    await writeFile(lock, JSON.stringify({ ...dead, id: 'a'.repeat(32) }))
    await writeFile(`${lock}.${'a'.repeat(32)}`, JSON.stringify({ ...dead, id: 'b'.repeat(32) }))
    const release = await takeLock(lock, 'the place')
    expect(await readdir(folder)).toEqual(['.lock'])
    release()
  })
})

test('a link in place of a lock is not followed', async () => {
  await symlink(join(folder, 'target'), lock)
  await expect(waitForLock(lock, 'the place')).rejects.toThrow(`${lock}: is in the place of a lock file`)
  expect(await readdir(folder)).toEqual(['.lock'])
})

test('waiting says so once, and can be ended', async () => {
  const release = await takeLock(lock, 'the place')
  const said: string[] = []
  const abort = new AbortController()
  const waiting = waitForLock(lock, 'the place', { onWait: (line) => said.push(line), signal: abort.signal })
  const second = waitForLock(lock, 'the place')
  setTimeout(() => abort.abort(), 500)
  await expect(waiting).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }))
  expect(said).toEqual([`waiting for process ${process.pid}, which is using the place`])
  release()
  ;(await second)()
})

describe('what is made once', () => {
  function place() {
    let there: string | undefined
    let made = 0
    return {
      find: () => Promise.resolve(there),
      make: async (): Promise<string> => {
        made++
        await new Promise((resolve) => setTimeout(resolve, 20))
        return (there = 'it')
      },
      count: () => made,
    }
  }

  test('is made by one, and found by the others', async () => {
    const given = place()
    const all = Array.from({ length: 3 }, () => madeOnce(lock, 'the place', given))
    expect(await Promise.all(all)).toEqual(['it', 'it', 'it'])
    expect(given.count()).toBe(1)
    expect(await readdir(folder)).toEqual([])
  })

  test('may be found where no folder is', async () => {
    const found = { find: () => Promise.resolve('elsewhere'), make: () => Promise.reject(new Error('not needed')) }
    expect(await madeOnce(join(folder, 'absent', '.lock'), 'the place', found)).toBe('elsewhere')
    expect(await readdir(folder)).toEqual([])
  })

  test('is found beside the lock of a process that died, which goes, or that lives, which stays', async () => {
    const given = place()
    await given.make()
    const dead = { host: hostname(), pid: 2 ** 22 + 1, started: '1', id: 'a'.repeat(32), since: 'yesterday' }
    // It died while it took over the lock of another one, too.
    const takeover = `${lock}.${'b'.repeat(32)}`
    for (const remains of [[lock], [lock, takeover], [takeover]]) {
      for (const path of remains) await writeFile(path, JSON.stringify(dead))
      expect(await madeOnce(lock, 'the place', given)).toBe('it')
      expect(await readdir(folder)).toEqual([])
    }
    const release = await takeLock(lock, 'the place')
    expect(await madeOnce(lock, 'the place', given)).toBe('it')
    expect(await readdir(folder)).toEqual(['.lock'])
    release()
  })
})

test('liveness', () => {
  expect(liveness(thisProcess)).toBe('alive')
  expect(liveness({ ...thisProcess, pid: 2 ** 22 + 1 })).toBe('dead')
  expect(liveness({ ...thisProcess, host: 'elsewhere' })).toBe('unknown')
})
