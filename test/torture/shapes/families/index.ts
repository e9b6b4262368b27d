/** All families of cases. */
import type { Family } from '../case.js'
import { elementwise } from './elementwise.js'
import { layout } from './layout.js'
import { losses } from './losses.js'
import { normalisation } from './normalisation.js'
import { optimizers } from './optimizers.js'
import { products } from './products.js'

export const families: readonly Family[] = [
  ...elementwise,
  ...layout,
  ...normalisation,
  ...losses,
  ...optimizers,
  ...products,
]
