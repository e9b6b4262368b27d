/** The runs that this browser keeps. */
import { formatCount } from '../../report/text.js'
import type { KeptRun } from '../protocol.js'
import { element, find } from './dom.js'
import { OBJECTIVES } from './settings.js'

export interface RunEvents {
  onOpen(run: KeptRun): void
  onDelete(run: KeptRun): void
}

export function showRuns(runs: readonly KeptRun[], { onOpen, onDelete }: RunEvents): void {
  find('runs').hidden = runs.length === 0
  find('run-list').replaceChildren(
    ...runs.map((run) => {
      const { id, pictures, step, steps, objective, width, views } = run
      const called = objective in OBJECTIVES ? OBJECTIVES[objective as keyof typeof OBJECTIVES].name : objective
      const name = `${pictures === 'cifar10' ? 'CIFAR-10' : 'Your pictures'}, ${called}, width ${width}, ${views} views`
      return element(
        'li',
        {},
        element(
          'div',
          {},
          element('strong', {}, name),
          element('span', {}, `${begun(id)}, step ${formatCount(step)} of ${formatCount(steps)}`),
        ),
        element(
          'button',
          { type: 'button', class: 'open', 'aria-label': `Open ${name}, step ${step}`, onclick: () => onOpen(run) },
          'Open',
        ),
        element(
          'button',
          { type: 'button', 'aria-label': `Delete ${name}, step ${step}`, onclick: () => onDelete(run) },
          'Delete',
        ),
      )
    }),
  )
}

/** When a run began, in local time: its name is that moment in UTC, with dashes. */
const begun = (id: string): string =>
  new Date(`${id.replace(/-(\d\d)-(\d\d)$/, ':$1:$2')}Z`).toLocaleString('en', {
    dateStyle: 'medium',
    timeStyle: 'short',
  })
