/** Conversion between f32 and f16 storage. */
import { part } from '../plan.js'
import { bytesOf, defineOp, type Value } from '../value.js'
import { checkActivations, vec4Of } from './common.js'

type Stored = 'f32' | 'f16'

const castOp = defineOp<{ dtype: Stored }>({
  name: 'cast',
  infer: ([x], { dtype }) => {
    checkActivations('cast', x)
    return [{ shape: x.shape, dtype }]
  },
  gradient: ({ inputs: [x] }, [g]) => [castTo(g!, x.dtype)],
  lower: ({ inputs: [x], outputs: [y], attributes: { dtype } }, context) => {
    // Inputs and Variables are never f16, so without shader-f16 every program that uses f16 fails here.
    if (!context.target.f16) throw new Error(`cast: the adapter has no f16 (shader-f16): use f32`)
    const [from, to] = [context.of(x), context.of(y)]
    const [bytesIn, bytesOut] = [4 * bytesOf[x.dtype], 4 * bytesOf[dtype]]
    for (const { start, count } of context.rows(Math.ceil(x.size / 4), bytesIn, bytesOut))
      context.dispatch({
        kernel: 'unary',
        constants: { In: vec4Of(x.dtype), Out: vec4Of(dtype), store: dtype },
        params: { count4: count, a: 1, b: 0 },
        buffers: {
          x: part(from, bytesIn * start, bytesIn * count),
          y: part(to, bytesOut * start, bytesOut * count),
        },
        workgroups: [context.grid(count, 256)],
      })
  },
})

/** As `cast`, for any dtype. Returns x itself if it has that dtype already. */
export const castTo = (x: Value, dtype: Value['dtype']): Value =>
  x.dtype === dtype ? x : castOp([x], { dtype: dtype as Stored })[0]

/**
 * x stored as f16 or as f32. Activations and their gradients take half the memory in f16, and every kernel still
 * computes in f32. In f16, numbers over 65504 become infinite, and those below 6·10⁻⁸ become zero; on adapters that
 * flush denormals, those below 6·10⁻⁵. The gradient has the dtype of x.
 */
export const cast = (x: Value, dtype: Stored): Value => castTo(x, dtype)
