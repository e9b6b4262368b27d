/**
 * Runs that processes of their own make, one process for each run. A launch has a folder:
 *
 *     tasks.json       the runs
 *     logs/N.log       what the process of task N prints
 *     status/N.json    what it is doing
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { resolveConfig, type PartialConfig } from '../../train/config/config.js'
import { readJson, writeAtomically } from '../../train/node/files.js'
import { ownCommand } from '../../train/node/own_command.js'
import { validated } from '../../train/run/validated.js'
import type { RunRequest } from '../runs/cached_runs.js'

/** What a launch makes. The number of a task is its place in the list. */
export interface TaskList {
  /** Folder of the runs. */
  root: string
  /** For each task what it makes of one run: the run itself, and its readouts. */
  tasks: RunRequest[][]
}

const count = z.int().min(0)

const request = z.object({
  config: z.record(z.string(), z.unknown()),
  readout: z.object({
    views: count,
    seeds: count,
    epochs: count,
    knn: z.boolean(),
    average: z.boolean().optional(),
    trainPerClass: count.optional(),
    testPerClass: count.optional(),
  }),
  curve: z.boolean().optional(),
})

const taskList = z.object({
  root: z.string().min(1),
  tasks: z.array(z.array(request).min(1)),
})

const TASKS_FILE = 'tasks.json'

export const logFile = (folder: string, task: number | '%a'): string => join(folder, 'logs', `${task}.log`)

export const writeTasks = (folder: string, tasks: TaskList): Promise<void> =>
  writeAtomically(join(folder, TASKS_FILE), `${JSON.stringify(tasks)}\n`)

/** @throws Error in one line that names the file */
export async function readTasks(folder: string): Promise<TaskList> {
  const file = join(folder, TASKS_FILE)
  const { root, tasks } = validated(taskList, await readJson(file), file)
  const resolved = ({ config, ...rest }: (typeof tasks)[number][number]): RunRequest => ({
    ...rest,
    config: resolveConfig(config as PartialConfig),
  })
  return { root, tasks: tasks.map((requests) => requests.map(resolved)) }
}

const status = z.object({
  /** What the process of a task does, or how it ended. */
  state: z.enum(['running', 'done', 'failed', 'stopped']),
  /** The part of the run that it is at: training or a readout, and how far it is. */
  what: z.string(),
  done: count,
  total: count,
  /** Why it failed, in one line. */
  error: z.string().optional(),
})

export type TaskStatus = z.infer<typeof status>

const statusFile = (folder: string, task: number): string => join(folder, 'status', `${task}.json`)

export const writeStatus = (folder: string, task: number, found: TaskStatus): Promise<void> =>
  writeAtomically(statusFile(folder, task), `${JSON.stringify(found)}\n`)

/** @returns undefined before the process of a task has begun, and where the file is damaged */
export async function readStatus(folder: string, task: number): Promise<TaskStatus | undefined> {
  const file = statusFile(folder, task)
  if (!existsSync(file)) return undefined
  try {
    return validated(status, await readJson(file), file)
  } catch {
    return undefined
  }
}

/** The command that makes a run, without the number of its task. */
export const taskCommand = (folder: string, adapter?: string): string[] =>
  ownCommand('task', ...(adapter ? ['--adapter', adapter] : []), folder)
