/** An http server of a folder, with range requests and failures on demand. */
import { readFileSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

export interface ShardServer {
  readonly url: string
  readonly server: Server
  /** [path, first byte, last byte] of each request that was answered. */
  readonly requests: [string, number, number][]
  /** Decides what happens to a request: an HTTP status, 'cut' for a connection that ends early, or undefined. */
  trouble?(path: string): number | 'cut' | 'whole' | undefined
}

export async function shardServer(folder: string): Promise<ShardServer> {
  const server = createServer((request, response) => {
    const path = request.url!.slice(1)
    const trouble = result.trouble?.(path)
    if (typeof trouble === 'number') return void response.writeHead(trouble).end()
    const file = join(folder, path)
    const size = statSync(file, { throwIfNoEntry: false })?.size
    if (size === undefined) return void response.writeHead(404).end()
    const bytes = readFileSync(file)
    if (trouble === 'whole') return void response.writeHead(200).end(bytes)
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range!)!.map(Number)
    response.writeHead(206, {
      'content-range': `bytes ${first}-${last}/${size}`,
      'content-length': last - first + 1,
    })
    if (trouble === 'cut') return void response.write(bytes.subarray(first, first + 1), () => request.destroy())
    result.requests.push([path, first, last])
    response.end(bytes.subarray(first, last + 1))
  })
  const result: ShardServer = { url: '', server, requests: [] }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(result, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
}
