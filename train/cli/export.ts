/** `npm run export`: writes a network for other programs; see `--help`. */
import { Command, Option } from 'commander'
import { input, type Value } from '../../engine/index.js'
import {
  checkValues,
  encodeOnnx,
  linearLayer,
  projector,
  resnet,
  StateDict,
  toFloat32,
  type SafetensorsTensor,
} from '../../models/index.js'
import { ConfigError } from '../config/config.js'
import { checkFile, writeAtomically } from '../node/files.js'
import { readWeights } from '../node/weights.js'
import { featureInfoOf, featureMetadata } from '../run/weights.js'
import {
  configOfChosen,
  loadChosenWeights,
  withWeights,
  type ChosenWeights,
  type WeightsOptions,
} from './chosen_weights.js'
import { parseOptions, runCommand, sayOn, withForce } from './common.js'
import { extensionOf } from './extension.js'

interface Options extends WeightsOptions {
  out: string
  force?: true
  projector?: true
  head?: string
}

const command = withForce(
  withWeights(
    new Command('export')
      .description(
        'Write a network as an ONNX model. Its input `images` is f32 [N, 3, H, W], RGB in [0, 1]: the model normalises ' +
          'them itself. Its output `features` is [N, D]; `embeddings` and `logits` are added on request.',
      )
      .requiredOption('--out <file>', 'file to write: .onnx')
      .addOption(new Option('--format <name>', 'format of the file').choices(['onnx']).default('onnx')),
  ),
)
  .option('--projector', 'with --run: add the output `embeddings`, those of the projector')
  .option('--head <file>', 'add the output `logits`, of the linear probe that `npm run probe` wrote with --save-head')

type Tensors = Record<string, SafetensorsTensor>

interface Part {
  dict: StateDict
  tensors: Tensors
  forward(features: Value): Value
  metadata?: Record<string, string>
}

/** The projector of a run. */
function projectorOf({ config, tensors }: ChosenWeights, features: number): Part {
  if (!config) throw new ConfigError('--projector: needs --run')
  const { projectorDim: dim, projectorDepth: depth } = config
  const { dict, forward } = projector({ features, dim, depth })
  return { dict, tensors, forward: (h) => forward(h, { training: false }) }
}

/** A linear probe from its file: `fc.weight` [classes, features] and `fc.bias` [classes]. */
async function headOf(file: string, features: number): Promise<Part> {
  const { tensors, metadata } = await readWeights(file)
  const weight = Object.hasOwn(tensors, 'fc.weight') ? tensors['fc.weight'] : undefined
  if (weight?.shape.length !== 2)
    throw new ConfigError(`--head ${file}: has no fc.weight; write one with \`npm run probe -- … --save-head ${file}\``)
  const [classes, width] = weight.shape
  if (width !== features)
    throw new ConfigError(`--head ${file}: is for ${width} features, and this network has ${features}`)
  const dict = new StateDict(0)
  const { classes: names } = metadata
  return {
    dict,
    tensors,
    forward: linearLayer(dict, 'fc', { from: features, to: classes }),
    metadata: names === undefined ? {} : { classes: names },
  }
}

/** @throws ConfigError in one line where the file lacks a tensor, or has one of another shape */
function checkTensors(dict: StateDict, tensors: Tensors, file: string): void {
  for (const [name, { torchShape }] of dict.entries) {
    const shape = Object.hasOwn(tensors, name) ? tensors[name].shape : undefined
    if (shape?.join() !== torchShape.join())
      throw new ConfigError(
        `${file}: '${name}' is ${shape ? `[${shape.join(', ')}]` : 'missing'}, the network needs [${torchShape.join(', ')}]`,
      )
    checkValues(toFloat32(tensors[name]), name, file)
  }
}

await runCommand(async () => {
  const options = parseOptions<Options>(command)
  const { out } = options
  extensionOf('--out', out, ['.onnx'])
  await checkFile('--out', out, options.force)
  const chosen = await loadChosenWeights(options)
  const config = configOfChosen(command, options, chosen)
  const { arch, width, stem, stemRelu, augmentation } = config
  const backbone = resnet({ arch, width, stem, stemRelu })
  const head = options.head === undefined ? undefined : await headOf(options.head, backbone.features)
  const embedder = options.projector && projectorOf(chosen, backbone.features)
  checkTensors(backbone.dict, chosen.tensors, chosen.file)
  if (embedder) checkTensors(embedder.dict, embedder.tensors, chosen.file)
  if (head) checkTensors(head.dict, head.tensors, options.head!)

  const { size, mean, std } = augmentation
  const images = input('images', [1, size, size, 4])
  const features = backbone.forward(images, { training: false })
  const outputs = {
    features,
    ...(embedder && { embeddings: embedder.forward(features) }),
    ...(head && { logits: head.forward(features) }),
  }
  const parts = [embedder, head].filter((part) => part !== undefined)
  const bytes = encodeOnnx({
    images,
    outputs,
    dicts: [backbone.dict, ...parts.map(({ dict }) => dict)],
    tensors: Object.assign({}, chosen.tensors, head?.tensors) as Tensors,
    mean,
    std,
    metadata: { ...featureMetadata(featureInfoOf(config)), ...head?.metadata },
  })
  await writeAtomically(out, bytes)
  const shapes = Object.entries(outputs).map(([name, value]) => `${name} [N, ${value.shape[1]}]`)
  sayOn(
    process.stdout,
    `${out}: ${arch} of width ${width}, images [N, 3, ${size}, ${size}] in RGB from 0 to 1 → ${shapes.join(', ')}`,
  )
})
