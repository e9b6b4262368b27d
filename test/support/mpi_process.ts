/** One rank of a small MPI program; `mpirun` starts it. Argument: what to do. Rank 0 prints one line of JSON. */
import { launched } from '../../train/node/mpi/launched.js'
import { withRanks } from '../../train/cli/ranks.js'
import { joinMpi, type MpiRanks } from '../../train/node/mpi/mpi_ranks.js'

// Which of a machine's equal GPUs each rank takes. Argument: the folder that lists the devices.
if (process.argv[2] === 'gpus') {
  const own = async (ranks?: MpiRanks): Promise<void> => {
    const gpus = await ranks!.allGather(Float32Array.of(Number(process.env.WEBGPU_SSL_GPU)))
    if (ranks!.rank === 0) console.log(JSON.stringify([...gpus]))
  }
  await withRanks(own, { devices: process.argv[3] })
  process.exit()
}

const place = launched()
if (!place) throw new Error('not launched by mpirun')
const ranks = await joinMpi(place)
const { rank, size } = ranks

if (process.argv[2] === 'die') {
  await ranks.barrier()
  if (rank === 1) process.kill(process.pid, 'SIGKILL')
  await ranks.barrier()
}

const wave = (length: number, of: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => Math.sin(i * 0.37 + of))
const sums: number[] = []
const bits: number[][] = []
// Lengths below, at and above the number of ranks, and several calls at once.
const lengths = [1, 2, 3, 5, 1000, 70001]
for (const all of [0, 1]) {
  const results = await Promise.all(lengths.map((length) => ranks.allReduce(wave(length, rank))))
  results.forEach((result, k) => {
    const expected = new Float64Array(lengths[k])
    for (let r = 0; r < size; r++) wave(lengths[k], r).forEach((x, i) => (expected[i] += x))
    sums.push(Math.max(...result.map((x, i) => Math.abs(x - expected[i]))))
  })
  bits[all] = results.flatMap((result) => [...new Uint32Array(result.buffer)])
}
const doubles = await ranks.allReduce(Float64Array.of(1e-9, rank))
const gathered = await ranks.allGather(Float32Array.of(rank, 10 * rank))
const sent = await ranks.broadcast(Float64Array.of(rank === 0 ? Math.PI : 0))
const equal = await ranks.allGather(Float64Array.from(bits[0]))
const same = equal.every((word, i) => word === bits[0][i % bits[0].length])
await ranks.barrier()
if (rank === 0)
  console.log(
    JSON.stringify({
      size,
      worst: Math.max(...sums),
      doubles: [...doubles],
      gathered: [...gathered],
      sent: sent[0],
      repeats: bits[0].every((word, i) => word === bits[1][i]),
      same,
    }),
  )
ranks.finalize()
process.exit()
