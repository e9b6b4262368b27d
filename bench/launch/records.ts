/** The launches of a sweep or an experiment, each in a folder `launch-N`. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { readJson, writeAtomically } from '../../train/node/files.js'
import { validated } from '../../train/run/validated.js'
import type { Launched, LaunchOptions } from './launcher.js'
import { writeTasks } from './tasks.js'

const launchFolder = (folder: string, number: number): string => join(folder, `launch-${number}`)

/** The numbers of the launches in a folder, in rising order. */
async function launchesIn(folder: string): Promise<number[]> {
  const names = await readdir(folder).catch(() => [])
  return names
    .flatMap((name) => /^launch-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b)
}

/** The folder of the next launch. */
export const nextLaunch = async (folder: string): Promise<string> =>
  launchFolder(folder, ((await launchesIn(folder)).at(-1) ?? 0) + 1)

/** Makes the folder of a new launch, with its list of tasks. */
export async function newLaunch(
  { root, folder }: Pick<LaunchOptions, 'root' | 'folder'>,
  runs: readonly Launched[],
): Promise<string> {
  const own = await nextLaunch(folder)
  await writeTasks(own, { root, tasks: runs.map(({ requests }) => requests) })
  return own
}

const JOB_FILE = 'job.json'
const job = z.object({ id: z.string().regex(/^\d+$/) })

export const writeJob = (launch: string, id: string): Promise<void> =>
  writeAtomically(join(launch, JOB_FILE), `${JSON.stringify({ id })}\n`)

/** The newest launch that was submitted as a job, and the number of the job. */
export async function newestJob(folder: string): Promise<{ launch: string; id: string } | undefined> {
  for (const number of (await launchesIn(folder)).reverse()) {
    const launch = launchFolder(folder, number)
    const file = join(launch, JOB_FILE)
    const found = await readJson(file).catch(() => undefined)
    if (found !== undefined) return { launch, ...validated(job, found, file) }
  }
  return undefined
}
