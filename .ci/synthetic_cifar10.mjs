// node synthetic_cifar10.mjs COUNT SEED: COUNT records in the binary format of CIFAR-10, on stdout.
// An image is a wave whose direction and colour belong to its class, with noise.
const [count, seed] = process.argv.slice(2).map(Number)
const records = Buffer.alloc(count * 3073)
let state = seed
/** Uniform in [0, 1): a linear congruential generator with the constants of Numerical Recipes. */
const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32
for (let image = 0; image < count; image++) {
  const label = image % 10
  const [angle, phase] = [(Math.PI * label) / 10, 2 * Math.PI * random()]
  let at = image * 3073
  records[at++] = label
  for (let channel = 0; channel < 3; channel++)
    for (let y = 0; y < 32; y++)
      for (let x = 0; x < 32; x++) {
        const wave = Math.sin(0.5 * (x * Math.cos(angle) + y * Math.sin(angle)) + phase + channel * label)
        records[at++] = Math.round(128 + 80 * wave + 40 * (random() - 0.5))
      }
}
process.stdout.write(records)
