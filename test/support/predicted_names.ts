/** An attacker who can predict the names of temporary files. */
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'

/** Makes random bytes 0 while `work` runs, so that a test knows every temporary name in advance. */
export async function withPredictedNames<T>(work: () => Promise<T>): Promise<T> {
  const { randomBytes } = crypto
  const predicted = (size: number): Buffer => Buffer.alloc(size)
  crypto.randomBytes = predicted as typeof randomBytes
  syncBuiltinESMExports()
  try {
    return await work()
  } finally {
    crypto.randomBytes = randomBytes
    syncBuiltinESMExports()
  }
}
