/** Reverse-mode automatic differentiation: one walk over the graph, which adds the nodes of the gradients to it. */
import { add } from './ops/elementwise.js'
import { constant } from './leaves.js'
import { reachable, ShapeError, show, type Node, type Value } from './value.js'

/**
 * The gradients of the scalar `loss` with respect to each of `targets`, as graph Values of the targets' shapes.
 *
 * @param loss one element, f32
 * @param targets inputs, Variables or intermediate Values
 * @param seed [1], a factor on the loss (such as a loss scale); 1 by default
 * @throws if the loss is not a scalar, does not depend on a target, or depends on it through an op without a gradient
 */
export function gradients(loss: Value, targets: readonly Value[], seed: Value = constant([1])): Value[] {
  if (loss.size !== 1) throw new ShapeError(`gradients: the loss must be a scalar, not ${show(loss.shape)}`)
  return backward([[loss, seed]], targets)
}

/**
 * As `gradients`, but starts from given gradients in several values: the vector-Jacobian product. With it a backward
 * pass continues from gradients that another program has computed.
 */
export function backward(
  seeds: readonly (readonly [value: Value, gradient: Value])[],
  targets: readonly Value[],
): Value[] {
  const nodes = reachable(seeds.map(([value]) => value))
  // Only the nodes between the targets and the loss are differentiated.
  const wanted = new Set<Node>(targets.map((t) => t.node))
  const needed = new Set<Node>()
  for (const node of nodes) if (wanted.has(node) || node.inputs.some((v) => needed.has(v.node))) needed.add(node)

  const gradientOf = new Map<Value, Value>()
  const accumulate = (value: Value, gradient: Value): void => {
    const before = gradientOf.get(value)
    gradientOf.set(value, before ? add(before, gradient) : gradient)
  }
  for (const [value, gradient] of seeds) accumulate(value, gradient)

  for (const node of nodes.reverse()) {
    if (!needed.has(node) || !node.inputs.some((v) => needed.has(v.node))) continue
    const outputGradients = node.outputs.map((v) => gradientOf.get(v))
    if (outputGradients.every((g) => g === undefined)) continue
    if (!node.op.gradient) throw new Error(`${node.op.name} has no gradient`)
    node.op.gradient(node, outputGradients).forEach((gradient, i) => {
      const source = node.inputs[i]
      if (gradient && needed.has(source.node)) accumulate(source, gradient)
    })
  }
  return targets.map((target) => {
    const gradient = gradientOf.get(target)
    if (!gradient) throw new Error(`gradients: the loss does not depend on ${describe(target)}`)
    return gradient
  })
}

function describe(value: Value): string {
  const { op, attributes } = value.node
  const name = (attributes as { name?: string; variable?: { name: string } } | undefined) ?? {}
  return `${op.name} '${name.variable?.name ?? name.name ?? ''}' ${show(value.shape)}`
}
