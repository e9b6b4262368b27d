/**
 * The deterministic weights and inputs of the golden files, by the same formula as test/fixtures/make_goldens.py. u[i]
 * is MurmurHash3's 32-bit finalizer of (fnv1a(name) + i), mapped to [-1, 1). Everything is rounded to f32, so that an
 * f32 engine and an f64 reference start from the same numbers.
 */

/** 32-bit FNV-1a hash of an ASCII text. */
export function fnv1a(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  return value >>> 0
}

/** u[i] in [-1, 1). */
export function uniform(name: string, count: number): Float64Array {
  const offset = fnv1a(name)
  return Float64Array.from({ length: count }, (_, i) => {
    let h = (offset + i) >>> 0
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
    return ((h ^ (h >>> 16)) >>> 0) / 2 ** 31 - 1
  })
}

/** Sum of three uniforms, not rounded: mean 0, variance 1, within (-3, 3). */
export function normalish(name: string, count: number): Float64Array {
  const [a, b, c] = [0, 1, 2].map((part) => uniform(`${name}/${part}`, count)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ]
  return a.map((value, i) => value + b[i] + c[i])
}

/** An input by name, with roughly normal values. Indices follow the stored layout (activations NHWC). */
export function formulaTensor(name: string, shape: readonly number[]): Float32Array {
  return Float32Array.from(
    normalish(
      name,
      shape.reduce((a, b) => a * b, 1),
    ),
  )
}

/**
 * A state-dict entry by its torchvision name. `shape` and the order of the values are PyTorch's
 * (convolutions OIHW, linear layers [out, in]).
 */
export function formulaParameter(name: string, shape: readonly number[]): Float32Array {
  const count = shape.reduce((a, b) => a * b, 1)
  const fanIn = count / shape[0]
  const of = name.endsWith('running_mean')
    ? (u: number) => 0.1 * u
    : name.endsWith('running_var')
      ? (u: number) => 1 + 0.5 * Math.abs(u)
      : name.endsWith('bias')
        ? (u: number) => 0.1 * u
        : name.endsWith('bn3.weight')
          ? (u: number) => 0.2 * (1 + 0.1 * u)
          : shape.length === 1
            ? (u: number) => 1 + 0.1 * u
            : (u: number) => Math.sqrt(6 / fanIn) * u
  return Float32Array.from(uniform(name, count), of)
}

/** OIHW to HWIO: a convolution's weight from PyTorch's layout to the engine's. */
export function toHWIO(data: Float32Array, [o, i, h, w]: readonly number[]): Float32Array {
  const out = new Float32Array(data.length)
  for (let oi = 0; oi < o!; oi++)
    for (let ii = 0; ii < i!; ii++)
      for (let p = 0; p < h! * w!; p++) out[(p * i! + ii) * o! + oi] = data[(oi * i! + ii) * h! * w! + p]
  return out
}
