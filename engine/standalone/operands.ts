/** The operands of a standalone kernel, as inputs of its graph. */
import { input } from '../leaves.js'
import type { Value } from '../value.js'

export type Shape = readonly number[]

/** `N` where the options `O` set the flag `F`: an operand that exists only then. */
export type If<O, F extends string, N extends string> = O extends { readonly [K in F]: true } ? N : never

/** An f32 operand. */
export const operand = (name: string, shape: Shape): Value => input(name, shape)

/** An f32 operand that exists only with its flag. */
export const optional = (flag: boolean | undefined, name: string, shape: Shape): Value | undefined =>
  flag ? input(name, shape) : undefined
