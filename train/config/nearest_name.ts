/**
 * Finds the name that a misspelt name most likely stands for: the same name with other case and dashes, or else the one
 * that shares the most characters at its beginning and end, if these are at least half of the misspelt name.
 */
export function nearestName(given: string, names: readonly string[]): string | undefined {
  const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, '')
  const wanted = plain(given)
  const sharedWith = (name: string): number => {
    const other = plain(name)
    if (other === wanted) return Infinity
    const most = Math.min(wanted.length, other.length)
    let start = 0
    while (start < most && wanted[start] === other[start]) start++
    let end = 0
    while (end < most - start && wanted.at(-1 - end) === other.at(-1 - end)) end++
    return start + end
  }
  const [best] = names
    .map((name) => ({ name, shared: sharedWith(name) }))
    .sort((a, b) => b.shared - a.shared || a.name.length - b.name.length)
  return best && best.shared > 0 && best.shared >= wanted.length / 2 ? best.name : undefined
}
