/** The engine as the families of cases call it. It notes which functions they use, so that none can be forgotten. */
import * as engine from '../../../engine/index.js'

export const called = new Set<string>()

export const ops: typeof engine = new Proxy(engine, {
  get(target, name) {
    if (typeof name === 'string') called.add(name)
    return target[name as keyof typeof engine]
  },
})
