/** The texts of the recipes. Here they are read from their files; the build replaces this module by one that holds them. */
import { readTexts } from '../../engine/node/texts.js'

/** Every recipe by its name. The first line of a text says which run of the paper it is; the rest is a configuration. */
export const recipeTexts: Readonly<Record<string, string>> = readTexts(new URL('./', import.meta.url), '.yaml')
