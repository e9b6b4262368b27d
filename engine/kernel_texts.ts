/** The texts of the kernels. Here they are read from their files; the build replaces this module by one that holds them. */
import { readTexts } from './node/texts.js'

/** Every file in `shaders/` by its name without `.wgsl`. */
export const kernelTexts: Readonly<Record<string, string>> = readTexts(new URL('../shaders/', import.meta.url), '.wgsl')
