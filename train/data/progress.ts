/** How long work, such as a download, reports its progress. */

/** Shows the progress of one piece of work. `done` counts in the unit given to `begin`. */
export interface ProgressTask {
  update(done: number): void
  finish(): void
}

/** Receives the progress of long work. */
export interface ProgressReporter {
  begin(label: string, total: number, unit: 'bytes' | 'images'): ProgressTask
}

/** Shows nothing. */
export const silentProgress: ProgressReporter = {
  begin: () => ({ update: () => undefined, finish: () => undefined }),
}
