/** From one way to store numbers to the other. */
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
    // Nothing but a cast makes f16 out of what a program is given, so this is where it ends without shader-f16.
    if (!context.target.f16) throw new Error(`cast: the adapter has no f16 (shader-f16): keep to f32`)
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

/** As `cast`; any dtype that x has already is x itself. */
export const castTo = (x: Value, dtype: Value['dtype']): Value =>
  x.dtype === dtype ? x : castOp([x], { dtype: dtype as Stored })[0]

/**
 * x stored as f16 or as f32, which is how activations and their gradients are kept in half the memory; every kernel
 * computes in f32. Numbers over 65504 become infinite in f16, those below 6·10⁻⁸ zero. The gradient is cast back.
 */
export const cast = (x: Value, dtype: Stored): Value => castTo(x, dtype)
