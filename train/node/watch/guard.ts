/** Which requests the watch server answers, and the headers that keep its answers to its own page. */
import { createHash } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'

const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?$/i

/**
 * Refuses what another site could send. A name that its owner resolves to 127.0.0.1 (DNS rebinding) shows in `Host`,
 * a page of another site in `Origin`. The port is free, so that a forwarded one (`ssh -L`) works.
 */
export const guard =
  (policy: string): MiddlewareHandler =>
  async (c, next) => {
    const host = c.req.header('host') ?? ''
    const origin = c.req.header('origin')
    if (!LOOPBACK.test(host)) return c.text('This server answers on 127.0.0.1 and localhost only.\n', 403)
    if (origin !== undefined && origin.toLowerCase() !== `http://${host.toLowerCase()}`)
      return c.text('This server answers its own page only.\n', 403)
    if (c.req.method !== 'GET' && c.req.method !== 'HEAD')
      return c.text('This server only reads.\n', 405, { Allow: 'GET, HEAD' })
    await next()
    for (const [name, value] of Object.entries({
      'Content-Security-Policy': policy,
      'Cross-Origin-Resource-Policy': 'same-origin',
      'Cross-Origin-Opener-Policy': 'same-origin',
      'X-Content-Type-Options': 'nosniff',
      'Referrer-Policy': 'no-referrer',
      'Cache-Control': 'no-store',
    }))
      c.header(name, value)
  }

/** A content security policy under which a page loads only what this server has, and its one inline import map. */
export function contentPolicy(page: string): string {
  const map = /<script type="importmap">([^]*?)<\/script>/.exec(page)?.[1] ?? ''
  const hash = createHash('sha256').update(map).digest('base64')
  return [
    "default-src 'none'",
    `script-src 'self' 'sha256-${hash}'`,
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}
