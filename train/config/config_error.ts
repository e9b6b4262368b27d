/**
 * A mistake of the caller, in one line that names the option and the remedy. Messages quote options as `viewChunk`; the
 * command line prints --view-chunk instead.
 */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/** An option that does not exist. */
export class UnknownOptionError extends ConfigError {
  override name = 'UnknownOptionError'
}
