/** The page's side of the worker. */
import type { Event, Events, Kind, Reply, Requests } from '../protocol.js'

type Listener<E extends keyof Events> = (data: Events[E]) => void

export class Client {
  private readonly worker: Worker
  private readonly waiting = new Map<number, { resolve(output: unknown): void; reject(error: Error): void }>()
  private readonly listeners = new Map<keyof Events, Listener<never>[]>()
  private requests = 0

  constructor() {
    this.worker = new Worker('worker.js', { type: 'module', name: 'training' })
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => this.receive(data)
    this.worker.onerror = (event) => this.fail(event.message || 'the worker could not start')
  }

  /** Asks the worker. @throws Error in one line, if it cannot do it */
  ask<K extends Kind>(
    kind: K,
    ...[input]: undefined extends Requests[K]['input'] ? [] : [Requests[K]['input']]
  ): Promise<Requests[K]['output']> {
    const id = this.requests++
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (output: unknown) => void, reject })
      this.worker.postMessage({ id, kind, input })
    })
  }

  on<E extends keyof Events>(event: E, listener: Listener<E>): void {
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener as Listener<never>])
  }

  private receive(reply: Reply): void {
    if ('event' in reply) {
      const { event, data } = reply as Event
      for (const listener of this.listeners.get(event) ?? []) (listener as Listener<typeof event>)(data as never)
      return
    }
    const waiting = this.waiting.get(reply.id)
    this.waiting.delete(reply.id)
    if ('error' in reply) waiting?.reject(new Error(reply.error))
    else waiting?.resolve(reply.output)
  }

  /** The worker does not answer any more. */
  private fail(message: string): void {
    for (const { reject } of this.waiting.values()) reject(new Error(message))
    this.waiting.clear()
  }
}
