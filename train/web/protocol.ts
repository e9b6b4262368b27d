/** Messages between the page of `npm run web` and its worker, which does all computing. */
import type { Tile } from '../augment/pictures.js'
import type { AugmentationRecipe } from '../augment/recipe.js'
import type { PartialConfig, PretrainConfig } from '../config/config.js'
import type { StepMetrics } from '../run/metrics.js'

/** What `sample.json` says of the pictures that come with the page. */
export interface Sample {
  name: string
  count: number
  /** Pixels. */
  height: number
  /** Pixels. */
  width: number
  labels: number[]
  classes: string[]
  /** A file that gives the first N images as RGB bytes for `?count=N`. */
  bytes?: string
  /** A picture that holds all images in rows of `columns`. */
  sprite?: { file: string; columns: number }
}

/** The worker is ready. */
export interface Opened {
  adapter: string
  adapterClass: 'cpu' | 'gpu'
  /** The augmentation from which the sliders start. */
  recipe: AugmentationRecipe
}

/** A picture file and its path below the folder that the user chose. */
export interface PictureFile {
  file: File
  path: string
}

/** The pictures that are loaded. */
export interface Pictures {
  name: string
  /** Whether they came with the page. */
  isSample: boolean
  count: number
  height: number
  width: number
  /** The first pictures, which neighbours are searched among: RGB bytes [shown, height, width, 3]. */
  shown: Uint8Array
  /** The class of each shown picture; empty without labels. */
  labels: number[]
  classes: string[]
  /** Files that no picture could be read from. */
  skipped: number
}

/** A run that the browser keeps. */
export interface KeptRun {
  id: string
  /** Name of the pictures. */
  pictures: string
  step: number
  steps: number
  objective: string
  width: number
  views: number
}

/** Why a training ended. */
export interface Ended {
  stopped: 'done' | 'signal' | 'time'
  step: number
  steps: number
}

/** A run that was opened again. */
export interface Reopened {
  pictures: Pictures
  config: PretrainConfig
  metrics: StepMetrics[]
  step: number
  steps: number
}

/** What the network makes of the pictures at one moment. */
export interface Reading {
  /** 'untrained': the network before its first step. */
  of: 'untrained' | 'now'
  step: number
  /** Numbers in an embedding, d. */
  dim: number
  /** Correlation of each number of one view with each number of another view, [dim, dim]. */
  matrix: Float32Array
  /** Of the features' covariance, largest first. */
  eigenvalues: number[]
  /** The exponent of their decay; absent if it cannot be fitted. */
  alpha?: number
  effectiveRank: number
  /** Width of the features. */
  features: number
  /** The nearest shown pictures of each shown picture, nearest first, [shown, k]. */
  neighbours: Uint32Array
  /** Cosine similarities, [shown, k]. */
  similarities: Float32Array
  k: number
  /** With labels: the share of shown pictures whose nearest neighbour has their class. */
  agreement?: number
}

export type ExportFormat = 'safetensors' | 'onnx'

/** What the page asks, and what the worker answers. */
export interface Requests {
  open: { input: undefined; output: Opened }
  runs: { input: undefined; output: KeptRun[] }
  sample: { input: undefined; output: Pictures }
  pictures: { input: { files: PictureFile[]; side: number }; output: Pictures }
  /** `draw` chooses other random numbers. Each row: a picture, then its views. */
  views: { input: { config: PartialConfig; images: number[]; draw: number }; output: Tile[][] }
  /** Begins a run, and answers when it ends or pauses. */
  train: { input: { config: PartialConfig }; output: Ended }
  /** Continues the run, to another number of steps if given. */
  resume: { input: { steps?: number }; output: Ended }
  pause: { input: undefined; output: undefined }
  reopen: { input: { id: string }; output: Reopened }
  /** Deletes a run. @returns whether it was the open one */
  remove: { input: { id: string }; output: boolean }
  export: { input: { format: ExportFormat }; output: { name: string; bytes: Uint8Array } }
}

export type Kind = keyof Requests

/** From the page. */
export type Request = { [K in Kind]: { id: number; kind: K; input: Requests[K]['input'] } }[Kind]

/** What the worker tells without being asked. */
export interface Events {
  /** Work before something can go on, as a share from 0 to 1. */
  progress: { what: string; share: number }
  /** The first step is about to run. */
  begin: { step: number; steps: number }
  step: StepMetrics
  reading: Reading
  message: { text: string }
}

export type Event = { [E in keyof Events]: { event: E; data: Events[E] } }[keyof Events]

/** From the worker. */
export type Reply = Event | { id: number; output: unknown } | { id: number; error: string }
