/** Which files are broken, and which tests may notice. */

/** The families of the table, with the files that belong to them. */
export const FAMILIES: readonly (readonly [name: string, pattern: RegExp])[] = [
  ['kernels', /^shaders\/\w+\.wgsl$/],
  [
    'optimisers',
    /^(engine\/ops\/(optimizers|lars|clip|ema|loss_scale|gradient_accumulation)|train\/step\/\w+|train\/run\/schedule)\.ts$/,
  ],
  ['products', /^engine\/ops\/products\/\w+\.ts$/],
  ['ops and gradients', /^engine\/(ops\/\w+|autograd)\.ts$/],
  ['objectives', /^train\/objectives\/\w+\.ts$/],
]

/** Files that hold estimates and lists only: a mistake there changes speed, memory or names, and no number. */
const WITHOUT_NUMBERS = /\/(cost|staged_cost|matmul_variants|fit|network_size|index|training_step)\.ts$/

export const familyOf = (file: string): string | undefined =>
  WITHOUT_NUMBERS.test(file) ? undefined : FAMILIES.find(([, pattern]) => pattern.test(file))?.[0]

/** Tests that run numbers in this process. */
const NUMERIC = /^test\/(engine|models|train\/(objectives|step|augment|diagnostics|readout|run))\/.*\.test\.ts$/
/** Tests of drivers and of programs that this process starts, and of texts, where each change of a text is a failure. */
const NOT_NUMERIC =
  /^test\/(engine\/(node\/|one_layer|shaders|profiling|tuning|failures|copies|pieces|standalone\/reference)|models\/(torchvision|onnx)|train\/run\/killed)/

export const isNumericTest = (file: string): boolean => NUMERIC.test(file) && !NOT_NUMERIC.test(file)

/** Tests of whole runs take long. They are asked about `train/` only: the other rooms have tests of their own. */
export const isAsked = (test: string, file: string): boolean =>
  file.startsWith('train/') || !test.startsWith('test/train/run/')

/** Kernels have copies of one snippet. Tests run a copy at its limits, and this test notices a copy that differs. */
export const COPIES = 'test/shaders/snippets.test.ts'
