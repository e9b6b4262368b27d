/** The recipes: one file for each run of the paper. The first line says which run, the rest is a configuration. */
import { ConfigError, resolveConfig, type PartialConfig } from '../config/config.js'
import { parseYaml } from '../config/parse_yaml.js'
import { counted } from '../report/text.js'
import { recipeTexts } from './texts.js'

const MOST_NEAR = 5

/** The names of the recipes, in order. */
export const recipeNames = (): string[] =>
  Object.keys(recipeTexts).sort(new Intl.Collator('en', { numeric: true }).compare)

/** Describes a recipe in one line: its run in the paper, and what its duration depends on. */
export function describeRecipe(name: string): string {
  const { arch, epochs, batch, accumulate, precision } = resolveConfig(readRecipe(name))
  const network = arch.replace('resnet', 'ResNet-')
  const batches = accumulate > 1 ? `${accumulate} × ${batch}` : batch
  const purpose = recipeTexts[name].split('\n')[0].replace(/^# /, '')
  return `${purpose} ${network}, ${counted(epochs, 'epoch')} of batches of ${batches}, ${precision}.`
}

/** @throws ConfigError that names the most similar recipes, if there is no recipe of that name */
export function readRecipe(name: string): PartialConfig {
  const names = recipeNames()
  if (names.includes(name)) return parseYaml(recipeTexts[name], `${name}.yaml`) as PartialConfig
  const parts = name.toLowerCase().split('-')
  const shared = (other: string): number => other.split('-').filter((part) => parts.includes(part)).length
  const alike = (other: string): number => [...other].findIndex((character, i) => character !== name[i])
  const near = names
    .filter((other) => shared(other) > 0)
    .sort((a, b) => shared(b) - shared(a) || alike(b) - alike(a))
    .slice(0, MOST_NEAR)
  throw new ConfigError(
    `\`recipe\` '${name}': there is no such recipe${near.length ? `; near it: ${near.join(', ')}` : ''} (npm run pretrain -- --list-recipes shows all)`,
  )
}
