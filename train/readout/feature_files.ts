/** Features as files of other programs: safetensors, NumPy's .npy and CSV. */
import { encodeSafetensors } from '../../models/index.js'

export interface FeatureTable {
  /** [count, width] */
  features: Float32Array
  count: number
  width: number
  /** The class of each row; empty if the images have no labels. */
  labels: ArrayLike<number>
  /** Names of the classes; may be empty. */
  classes: readonly string[]
  /** The picture's file of each row. */
  files?: readonly string[]
  metadata: Readonly<Record<string, string>>
}

/** The content of each file to write, by what follows the name that the user chose without its extension. */
export type FeatureFiles = Readonly<Record<string, Uint8Array<ArrayBuffer>>>

/** The file of labels beside the features in .npy. */
export const NPY_LABELS = '.labels.npy'

/** The encoders by extension. */
export const featureFormats: Readonly<Record<string, (table: FeatureTable) => FeatureFiles>> = {
  /** `features` (F32 [N, D]) and `labels` (I64 [N]), with metadata. */
  '.safetensors': ({ features, count, width, labels, classes, files, metadata }) => ({
    '.safetensors': encodeSafetensors(
      {
        features: { dtype: 'F32', shape: [count, width], data: features },
        labels: { dtype: 'I64', shape: [labels.length], data: BigInt64Array.from(Array.from(labels, BigInt)) },
      },
      {
        ...metadata,
        ...(files && { files: JSON.stringify(files) }),
        ...(classes.length > 0 && { classes: JSON.stringify(classes) }),
      },
    ) as Uint8Array<ArrayBuffer>,
  }),

  /** One array for each file: the features, and the labels beside them. */
  '.npy': ({ features, count, width, labels }) => ({
    '.npy': encodeNpy('<f4', [count, width], features),
    ...(labels.length > 0 && {
      [NPY_LABELS]: encodeNpy('<i8', [labels.length], BigInt64Array.from(Array.from(labels, BigInt))),
    }),
  }),

  /** A row for each image: its file, its class and its features, as far as they are known. */
  '.csv': ({ features, count, width, labels, classes, files }) => {
    const header = [
      ...(files ? ['file'] : []),
      ...(labels.length ? ['label'] : []),
      ...(labels.length && classes.length ? ['class'] : []),
      ...Array.from({ length: width }, (_, d) => `feature_${d}`),
    ]
    const rows = Array.from({ length: count }, (_, i) =>
      [
        ...(files ? [files[i]] : []),
        ...(labels.length ? [labels[i]] : []),
        ...(labels.length && classes.length ? [classes[labels[i]]] : []),
        // Nine digits tell every f32 from its neighbours.
        ...Array.from(features.subarray(i * width, (i + 1) * width), (v) => Number(v.toPrecision(9))),
      ]
        .map(csvField)
        .join(','),
    )
    return { '.csv': new TextEncoder().encode(`${[header.join(','), ...rows].join('\n')}\n`) }
  },
}

/** A field of CSV (RFC 4180): quoted where it holds a comma, a quote or a line break. */
const csvField = (value: string | number): string =>
  typeof value === 'string' && /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : String(value)

/**
 * The bytes of a .npy file, version 1.0: magic, length of the header, header padded to 64 bytes, data in C order.
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
 *
 * @param type of NumPy, such as `<f4`; `data` holds exactly its bytes for `shape`
 */
export function encodeNpy(type: string, shape: readonly number[], data: ArrayBufferView): Uint8Array<ArrayBuffer> {
  const PREFIX = 10
  const tuple = `(${shape.join(', ')}${shape.length === 1 ? ',' : ''})`
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': ${tuple}, }`
  const length = Math.ceil((PREFIX + text.length + 1) / 64) * 64 - PREFIX
  const bytes = new Uint8Array(PREFIX + length + data.byteLength)
  bytes.set([0x93, ...new TextEncoder().encode('NUMPY'), 1, 0, length % 256, Math.floor(length / 256)])
  bytes.set(new TextEncoder().encode(`${text.padEnd(length - 1)}\n`), PREFIX)
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), PREFIX + length)
  return bytes
}
