/**
 * Writes a network as an ONNX model (opset 13), for inference elsewhere. The graph of Values is translated op by op, in
 * PyTorch's layouts: activations NCHW, convolutions OIHW, linear layers [out, in].
 * Message fields: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; operators: https://onnx.ai/onnx/operators.
 */
import type { Value } from '../engine/index.js'
import type { StateDict } from './layers.js'
import { bytesField, floatField, join, textField, wholeField } from './protobuf.js'
import { toFloat32, type SafetensorsTensor } from './safetensors.js'

export interface OnnxNetwork {
  /** The images, [any, H, W, 4]. In the model they are `images`, f32 [N, 3, H, W], RGB in [0, 1]. */
  images: Value
  /** [any, width], computed from `images` in eval mode, by name. In the model they are f32 [N, width]. */
  outputs: Readonly<Record<string, Value>>
  /** The state dicts of all Variables that the outputs depend on. */
  dicts: readonly StateDict[]
  /** The values of the Variables by state-dict name, as `exportStateDict` returns them. */
  tensors: Readonly<Record<string, SafetensorsTensor>>
  /** Per channel of RGB in [0, 1]. The model itself computes (images − mean) / std. */
  mean: readonly number[]
  std: readonly number[]
  /** Free text by key. */
  metadata?: Readonly<Record<string, string>>
}

const IR_VERSION = 7
const OPSET = 13
/** TensorProto.DataType. */
const FLOAT = 1

/**
 * Encodes a network.
 *
 * @returns the bytes of an `.onnx` file
 * @throws Error that names an op that ONNX models of this project do not have, or a tensor that is missing
 */
export function encodeOnnx(network: OnnxNetwork): Uint8Array<ArrayBuffer> {
  const { images, outputs, metadata = {} } = network
  const writer = new GraphWriter(network)
  const [, height, width] = images.shape
  for (const [name, value] of Object.entries(outputs)) writer.node('Identity', [writer.of(value)], {}, name)
  const graph = join(
    ...writer.nodes.map((node) => bytesField(1, node)),
    textField(2, 'network'),
    ...writer.initializers.map((tensor) => bytesField(5, tensor)),
    bytesField(11, valueInfo('images', ['N', 3, height, width])),
    ...Object.entries(outputs).map(([name, { shape }]) => bytesField(12, valueInfo(name, ['N', shape[1]]))),
  )
  return join(
    wholeField(1, IR_VERSION),
    textField(2, 'webgpu-ssl'),
    bytesField(7, graph),
    bytesField(8, wholeField(2, OPSET)),
    ...Object.entries(metadata).map(([key, value]) => bytesField(14, join(textField(1, key), textField(2, value)))),
  )
}

type Attribute = number | readonly number[] | { readonly float: number }

/** Collects the encoded nodes and tensors of one graph. */
class GraphWriter {
  readonly nodes: Uint8Array[] = []
  readonly initializers: Uint8Array[] = []
  private readonly names = new Map<Value, string>()
  private readonly normalised: string

  constructor(private readonly network: OnnxNetwork) {
    const { mean, std } = network
    const centred = this.node('Sub', ['images', this.floats('mean', [3, 1, 1], Float32Array.from(mean))])
    this.normalised = this.node('Div', [centred, this.floats('std', [3, 1, 1], Float32Array.from(std))])
  }

  /** Adds a node with one output. @returns the name of the output */
  node(
    type: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    output = `${type} ${this.nodes.length}`,
  ): string {
    this.nodes.push(
      join(
        ...inputs.map((name) => textField(1, name)),
        textField(2, output),
        textField(4, type),
        ...Object.entries(attributes).map(([name, value]) => bytesField(5, encodeAttribute(name, value))),
      ),
    )
    return output
  }

  /** The name of a value in the model. What it depends on is added first. */
  of(value: Value): string {
    let name = this.names.get(value)
    if (name === undefined) this.names.set(value, (name = this.translate(value)))
    return name
  }

  private translate(value: Value): string {
    if (value === this.network.images) return this.normalised
    const { op, attributes } = value.node
    if (op.name === 'variable') return this.variable(value)
    const translation = Object.hasOwn(translations, op.name) ? translations[op.name] : undefined
    const name = value.output === 0 && translation?.(this, value, attributes as Attributes)
    if (!name) throw new Error(`the op '${op.name}' cannot be written as ONNX`)
    return name
  }

  private variable(value: Value): string {
    for (const { entries } of this.network.dicts)
      for (const [name, { variable, torchShape }] of entries) {
        if (variable !== value) continue
        if (!Object.hasOwn(this.network.tensors, name)) throw new Error(`the weights have no tensor '${name}'`)
        return this.floats(name, torchShape, toFloat32(this.network.tensors[name]))
      }
    throw new Error('a Variable of the graph is in no state dict')
  }

  private floats(name: string, shape: readonly number[], data: Float32Array): string {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    this.initializers.push(
      join(...shape.map((n) => wholeField(1, n)), wholeField(2, FLOAT), textField(8, name), bytesField(9, bytes)),
    )
    return name
  }
}

/** The attributes of the ops below, as the engine names them. */
interface Attributes {
  stride: number
  padding: number
  size: number
  epsilon: number
  relu: boolean
  transposeA: boolean
  transposeB: boolean
  outer: number
  length: number
  factor: number
}

/** Adds the nodes of one value. @returns the name of its output, or nothing where the attributes have no translation */
type Translation = (writer: GraphWriter, value: Value, attributes: Attributes) => string | undefined

const translations: Readonly<Record<string, Translation>> = {
  conv2d: (writer, { node: { inputs } }, { stride, padding }) =>
    writer.node(
      'Conv',
      inputs.map((input) => writer.of(input)),
      {
        strides: [stride, stride],
        pads: Array<number>(4).fill(padding),
      },
    ),

  batchNormInference(writer, { node: { inputs } }, { epsilon, relu }) {
    const [x, mean, variance, scale, shift, residual] = inputs.map((input) => writer.of(input))
    let y = writer.node('BatchNormalization', [x, scale, shift, mean, variance], { epsilon: { float: epsilon } })
    if (residual) y = writer.node('Add', [y, residual])
    return relu ? writer.node('Relu', [y]) : y
  },

  maxPool2d: (writer, { node: { inputs } }, { size, stride, padding }) =>
    writer.node('MaxPool', [writer.of(inputs[0])], {
      kernel_shape: [size, size],
      strides: [stride, stride],
      pads: Array<number>(4).fill(padding),
    }),

  /** Only the mean over height and width. */
  sum(writer, value, { outer, length, factor }) {
    const [x] = value.node.inputs
    const [n, height, width] = x.shape
    const isPool = x.shape.length === 4 && outer === n && length === height * width && factor === 1 / length
    if (!isPool) return undefined
    return writer.node('Flatten', [writer.node('GlobalAveragePool', [writer.of(x)])])
  },

  /** Only a linear layer, whose weights are [out, in] in PyTorch. */
  matmul(writer, { node: { inputs } }, { transposeA, transposeB }) {
    const isLinear = inputs[0].shape.length === 2 && inputs[1].node.op.name === 'variable'
    if (!isLinear || transposeA || transposeB) return undefined
    return writer.node(
      'Gemm',
      inputs.map((input) => writer.of(input)),
      { transB: 1 },
    )
  },
}

function encodeAttribute(name: string, value: Attribute): Uint8Array {
  const [FLOAT_TYPE, INT_TYPE, INTS_TYPE] = [1, 2, 7]
  if (typeof value === 'number') return join(textField(1, name), wholeField(3, value), wholeField(20, INT_TYPE))
  if ('float' in value) return join(textField(1, name), floatField(2, value.float), wholeField(20, FLOAT_TYPE))
  return join(textField(1, name), ...value.map((n) => wholeField(8, n)), wholeField(20, INTS_TYPE))
}

/** An f32 input or output. A string is the name of a free dimension. */
function valueInfo(name: string, shape: readonly (number | string)[]): Uint8Array {
  const dimensions = shape.map((n) => bytesField(1, typeof n === 'number' ? wholeField(1, n) : textField(2, n)))
  const tensor = join(wholeField(1, FLOAT), bytesField(2, join(...dimensions)))
  return join(textField(1, name), bytesField(2, bytesField(1, tensor)))
}
