/**
 * CIFAR-100: 50,000 training and 10,000 test photographs of 100 classes, 32×32 RGB
 * (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009), in the official binary format.
 * The labels are the fine ones. The 20 coarse labels are checked and dropped.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CIFAR100_RECORDS, CIFAR_SIZE, decodeRecords } from '../../data/cifar_records.js'
import type { DatasetLoader } from '../../data/registry.js'
import { archiveFolder, missingFile, type OfficialArchive } from './official_archive.js'

const ARCHIVE: OfficialArchive = {
  title: 'CIFAR-100',
  address: 'https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz',
  sha256: '58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec',
  folder: 'cifar-100-binary',
  files: ['train.bin', 'test.bin'],
}

/** By label, as in the archive's fine_label_names.txt. */
const CLASSES = (
  'apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can ' +
  'castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin ' +
  'elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard ' +
  'lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear ' +
  'pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal ' +
  'shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank ' +
  'telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm'
).split(' ')

export const cifar100: DatasetLoader = {
  splits: ['train', 'test'],
  pretraining: 'train',
  side: CIFAR_SIZE,
  locate: (options) => archiveFolder(ARCHIVE, options),

  async load(split, options) {
    const file = `${split}.bin`
    const path = join(await archiveFolder(ARCHIVE, options), file)
    const bytes = await readFile(path).catch(missingFile(path, split, ARCHIVE.title))
    const { images, labels } = decodeRecords(bytes, CIFAR100_RECORDS, path)
    return {
      name: 'cifar100',
      split,
      count: labels.length,
      height: CIFAR_SIZE,
      width: CIFAR_SIZE,
      channels: 3,
      images,
      labels,
      classes: CLASSES,
    }
  },
}
