/** The experiments by name; `pareto` comes last, for it takes what the others have run. */
import type { Experiment } from '../experiment.js'
import { dynamics } from './dynamics.js'
import { fidelity } from './fidelity.js'
import { fraction } from './fraction.js'
import { pareto } from './pareto.js'
import { projector } from './projector.js'
import { timeTo } from './time_to.js'
import { views } from './views.js'

export const experiments: readonly Experiment[] = [dynamics, views, timeTo, fraction, projector, fidelity, pareto]
