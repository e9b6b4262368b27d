// A module that the launcher preloads into the process of a command. It lets `process.stderr` write to the file
// descriptor in WEBGPU_SSL_STDERR, which is the launcher's stderr. File descriptor 2 then has only what native code
// writes, and the launcher filters it.
import { writeSync } from 'node:fs'
import { Writable } from 'node:stream'
import { isatty, WriteStream } from 'node:tty'
import { isMainThread } from 'node:worker_threads'

const fd = Number(process.env.WEBGPU_SSL_STDERR)
// Processes that this one starts do not have the file descriptor.
delete process.env.WEBGPU_SSL_STDERR

const cell = new Int32Array(new SharedArrayBuffer(4))

/** Writes all bytes at once, as Node's own stderr does for files and pipes. A reader that has gone is no error.
 * @param {Uint8Array} bytes */
function writeAll(bytes) {
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(fd, bytes, at)
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EAGAIN') return
      Atomics.wait(cell, 0, 0, 5)
    }
  }
}

function terminal() {
  const stream = new WriteStream(fd)
  // As Node does for its own streams.
  process.on('SIGWINCH', () => /** @type {any} */ (stream)._refreshSize())
  return stream
}

function fileOrPipe() {
  const stream = new Writable({
    decodeStrings: true,
    write(bytes, _encoding, done) {
      writeAll(bytes)
      done()
    },
  })
  return Object.assign(stream, { fd, isTTY: false })
}

if (isMainThread && fd > 2) {
  const stream = isatty(fd) ? terminal() : fileOrPipe()
  stream.on('error', () => undefined)
  Object.defineProperty(process, 'stderr', { configurable: true, enumerable: true, get: () => stream })
}
