/**
 * The Kolmogorov–Smirnov statistic, √n · sup |F_n − F|, of samples against a continuous distribution.
 * Above 1.63 the samples are refused at the 1 % level.
 */
export function kolmogorovSmirnov(samples: number[], cdf: (x: number) => number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  const n = sorted.length
  const gap = sorted.reduce((worst, x, i) => {
    const expected = cdf(x)
    return Math.max(worst, expected - i / n, (i + 1) / n - expected)
  }, 0)
  return Math.sqrt(n) * gap
}

/** Distance of an observed frequency from a probability, in standard errors. */
export function standardErrors(hits: number, count: number, probability: number): number {
  return Math.abs(hits - count * probability) / Math.sqrt(count * probability * (1 - probability))
}

/** Standard normal distribution function (Abramowitz and Stegun 7.1.26, error below 1.5e-7). */
export function normalCdf(x: number): number {
  const t = 1 / (1 + (0.3275911 * Math.abs(x)) / Math.SQRT2)
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
  const tail = 0.5 * series * Math.exp((-x * x) / 2)
  return x > 0 ? 1 - tail : tail
}
