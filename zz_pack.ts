import { openPacked } from './train/node/data/packed_images.js'
import { mkdtempSync } from 'node:fs'
const d = mkdtempSync('/tmp/pk-'); let peak = 0; setInterval(() => { peak = Math.max(peak, process.memoryUsage.rss()) }, 20)
const s = Date.now()
await openPacked(d + '/p', { folder: '/tmp/big4', files: ['a/0.png','b/1.png','a/2.png','b/3.png'], resolution: 64, progress: { begin: () => ({ update() {}, finish() {} }) } as never })
console.log('peak GiB', (peak / 2 ** 30).toFixed(2), 'seconds', (Date.now() - s) / 1000, (await import('node:fs')).readFileSync('/proc/self/status', 'utf8').match(/VmHWM.*/)![0]); process.exit(0)
