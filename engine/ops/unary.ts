/** Elementwise functions of one tensor, f32 or f16. */
import { bytesOf, defineOp, type Value } from '../value.js'
import { part } from '../lowering.js'
import { checkActivations } from './common.js'
import { divide, multiply, multiplyWhere } from './binary.js'
import { vec4Of } from './products/work.js'

interface Attributes {
  operation: 'affine' | 'relu' | 'square' | 'sqrt' | 'exp' | 'log'
  a: number
  b: number
}

const code = { affine: 0, relu: 1, square: 2, sqrt: 3, exp: 4, log: 5 }

const unary = defineOp<Attributes>({
  name: 'elementwise',
  infer: ([x], { operation }) => {
    checkActivations(operation, x)
    return [{ shape: x.shape, dtype: x.dtype }]
  },
  gradient: ({ inputs: [x], outputs: [y], attributes: { operation, a } }, [g]) => {
    switch (operation) {
      case 'affine':
        return [scale(g!, a)]
      case 'relu':
        return [multiplyWhere(g!, y)]
      case 'square':
        return [multiply(g!, scale(x, 2))]
      case 'sqrt':
        return [scale(divide(g!, y), 0.5)]
      case 'exp':
        return [multiply(g!, y)]
      case 'log':
        return [divide(g!, x)]
    }
  },
  lower: ({ inputs: [x], outputs: [y], attributes: { operation, a, b } }, emit) => {
    const from = emit.of(x)
    const to = emit.of(y)
    const bytes = 4 * bytesOf[x.dtype]
    for (const { start, count } of emit.rows(Math.ceil(x.size / 4), bytes))
      emit.dispatch({
        kernel: 'unary',
        constants: { OPERATION: code[operation], In: vec4Of(x.dtype), Out: vec4Of(x.dtype), store: x.dtype },
        params: { count4: count, a, b },
        buffers: { x: part(from, bytes * start, bytes * count), y: part(to, bytes * start, bytes * count) },
        workgroups: [emit.grid(count, 256)],
      })
  },
})

const apply = (x: Value, operation: Attributes['operation'], a = 0, b = 0): Value => unary([x], { operation, a, b })[0]

/** a·x + b, elementwise; a and b are fixed when the graph is built. */
export const affine = (x: Value, a: number, b: number): Value => apply(x, 'affine', a, b)
/** factor · x, elementwise. */
export const scale = (x: Value, factor: number): Value => apply(x, 'affine', factor)
/** max(x, 0), elementwise; its gradient at 0 is 0. */
export const relu = (x: Value): Value => apply(x, 'relu')
/** x², elementwise. */
export const square = (x: Value): Value => apply(x, 'square')
/** √x, elementwise. */
export const sqrt = (x: Value): Value => apply(x, 'sqrt')
/** eˣ, elementwise. */
export const exp = (x: Value): Value => apply(x, 'exp')
/** ln x, elementwise. */
export const log = (x: Value): Value => apply(x, 'log')
