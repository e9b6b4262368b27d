/** Which ResNet a file holds, by the names and shapes of its tensors. */
import { architectures, type Architecture, type ResNetOptions } from './resnet.js'
import type { SafetensorsTensor } from './safetensors.js'

export type IdentifiedResNet = Required<Pick<ResNetOptions, 'arch' | 'width' | 'stem'>>

const STAGES = [1, 2, 3, 4]
const STEM = 'conv1.weight'

/**
 * Reads architecture, width and stem from tensors with torchvision's names (timm has the same for its plain ResNets).
 * Only the tensors that tell these apart are looked at; `importStateDict` checks all.
 *
 * @param source names the file in error messages
 * @throws Error in one line that names the tensor, where the file holds no ResNet or one that is unknown here
 */
export function identifyResNet(tensors: Readonly<Record<string, SafetensorsTensor>>, source: string): IdentifiedResNet {
  const fail = (problem: string): never => {
    throw new Error(`${source}: ${problem}`)
  }
  const names = Object.keys(tensors)
  if (!Object.hasOwn(tensors, STEM)) return fail(withoutStem(names))
  const { shape } = tensors[STEM]
  const [width, colours, kernel] = shape
  const stem = kernel === 3 ? 'cifar' : 'imagenet'
  if (shape.length !== 4 || width < 1 || colours !== 3 || shape[3] !== kernel || ![3, 7].includes(kernel))
    return fail(
      `'${STEM}' is [${shape.join(', ')}]: the known stems are cifar, [width, 3, 3, 3], and imagenet, [width, 3, 7, 7]`,
    )

  const counts = STAGES.map(
    (stage) => new Set(names.flatMap((name) => new RegExp(`^layer${stage}\\.(\\d+)\\.`).exec(name)?.[1] ?? [])).size,
  )
  const block = Object.hasOwn(tensors, 'layer1.0.conv3.weight') ? 'bottleneck' : 'basic'
  const arch = (Object.keys(architectures) as Architecture[]).find(
    (one) => architectures[one].block === block && architectures[one].blocks.join() === counts.join(),
  )
  if (arch) return { arch, width, stem }
  const missing = STAGES.find((_, i) => counts[i] === 0)
  if (missing !== undefined) return fail(`has no tensor 'layer${missing}.0.conv1.weight': it holds no whole ResNet`)
  const known = Object.entries(architectures).map(([name, { blocks }]) => `${name} (${blocks.join(', ')})`)
  return fail(`its stages have ${counts.join(', ')} ${block} blocks: the known networks are ${known.join(', ')}`)
}

/** What is wrong with a file that has no stem under torchvision's name. */
function withoutStem(names: readonly string[]): string {
  const deep = names.find((name) => /^conv1\.\d+\.weight$/.test(name))
  if (deep) return `'${deep}' belongs to a deep stem; only stems of one convolution, '${STEM}', are known`
  const prefixed = names.find((name) => /^(?!.*layer\d).+\.conv1\.weight$/.test(name))
  if (!prefixed) return `has no tensor '${STEM}': it holds no ResNet with torchvision's names`
  const prefix = prefixed.slice(0, -STEM.length)
  return `has no tensor '${STEM}' but '${prefixed}': save it again without the prefix '${prefix}'`
}
