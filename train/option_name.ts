/** The option of the command line that a field of the configuration comes from: `--weight-decay` for weightDecay. */
export const optionOf = (field: PropertyKey): string =>
  `--${String(field).replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`
