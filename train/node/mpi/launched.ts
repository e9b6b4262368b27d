/** What a launcher of MPI programs tells each process about the group that it belongs to. */

/** The two families of libraries; Intel MPI and others are of MPICH's. */
export type MpiFamily = 'openmpi' | 'mpich'

/** The place of this process among those that were launched together. */
export interface Launched {
  readonly family: MpiFamily
  readonly rank: number
  readonly size: number
  /** The number of this process among those on its machine. */
  readonly localRank: number
  /** Set by the user: the file of the library, in place of the usual names. */
  readonly library?: string
}

/**
 * Reads the environment that `mpirun` (Open MPI, MPICH) or `srun --mpi=pmix` sets. `WEBGPU_SSL_MPI` chooses the library
 * where the launcher does not tell: openmpi, mpich, or the path of its file.
 *
 * @returns undefined for a process that runs alone
 * @throws Error if `WEBGPU_SSL_MPI` names no library
 */
export function launched(env: Readonly<Record<string, string | undefined>> = process.env): Launched | undefined {
  const number = (...names: string[]): number | undefined => {
    const value = names.map((name) => env[name]).find((text) => text !== undefined && /^\d+$/.test(text))
    return value === undefined ? undefined : Number(value)
  }
  const given = env.WEBGPU_SSL_MPI || undefined
  const library = given !== undefined && given.includes('/') ? given : undefined
  if (given !== undefined && !library && given !== 'openmpi' && given !== 'mpich')
    throw new Error(`WEBGPU_SSL_MPI '${given}': give openmpi, mpich or the path of the library`)
  const chosen = library ? undefined : (given as MpiFamily | undefined)
  const openMpi = { rank: number('OMPI_COMM_WORLD_RANK'), size: number('OMPI_COMM_WORLD_SIZE') }
  const pmi = { rank: number('PMI_RANK'), size: number('PMI_SIZE') }
  // Slurm sets its own variables in every job; only with PMIx are its tasks ranks.
  const pmix = { rank: number('PMIX_RANK'), size: number('SLURM_NTASKS', 'SLURM_NPROCS') }
  const places = [
    { family: 'openmpi' as const, ...openMpi },
    { family: 'mpich' as const, ...pmi },
    { family: 'openmpi' as const, ...pmix },
  ]
  const place = places.find(({ rank, size }) => rank !== undefined && size !== undefined)
  if (!place || place.size === 1) return undefined
  const localRank = number('OMPI_COMM_WORLD_LOCAL_RANK', 'MPI_LOCALRANKID', 'SLURM_LOCALID') ?? place.rank!
  return {
    family: chosen ?? place.family,
    rank: place.rank!,
    size: place.size!,
    localRank,
    ...(library && { library }),
  }
}
