/** Pseudo-random inputs, the same at every call. A linear congruence of full period: fast, and never denormal in f32. */

const next = (state: number): number => Math.imul(state, 1664525) + 1013904223

/** Numbers in [−1, 1). */
export function randomValues(count: number, seed = 1): Float32Array {
  const values = new Float32Array(count)
  for (let i = 0, state = seed; i < count; i++) values[i] = (state = next(state) | 0) / 2 ** 31
  return values
}

export function randomBytes(count: number): Uint8Array {
  const bytes = new Uint8Array(count)
  for (let i = 0, state = 1; i < count; i++) bytes[i] = (state = next(state)) >>> 24
  return bytes
}
