/** Calls into an MPI library. One table of constants serves each family, because the two have different handles. */
import { realpathSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import type { KoffiFunc, LibraryHandle } from 'koffi'
import type { Launched, MpiFamily } from './launched.js'

/** Names of the library's file: those of the projects and of the distributions. */
const FILES: Readonly<Record<MpiFamily, readonly string[]>> = {
  openmpi: ['libmpi.so.40', 'libmpi.so', 'libmpi.40.dylib', 'libmpi.dylib'],
  mpich: ['libmpich.so.12', 'libmpi.so.12', 'libmpich.so', 'libmpi.so', 'libmpi.12.dylib', 'libmpi.dylib'],
}
const PACKAGES: Readonly<Record<MpiFamily, string>> = { openmpi: 'openmpi-bin', mpich: 'mpich' }

/** The stack of a call. MPICH needs more than koffi gives by default. */
const STACK_BYTES = 16 * 2 ** 20

/** Handles and constants of a library, as numbers. */
interface Constants {
  world: bigint | number
  float: bigint | number
  double: bigint | number
  sum: bigint | number
  inPlace: number
  statusIgnore: number
  /** The C type of a handle. */
  handle: string
}

/** MPICH's are fixed by the ABI that it shares with Intel MPI and MVAPICH; Open MPI's are addresses. */
const mpich: Constants = {
  ...{ world: 0x44000000, float: 0x4c00040a, double: 0x4c00080b, sum: 0x58000003 },
  ...{ inPlace: -1, statusIgnore: 1, handle: 'int' },
}

const openMpi = (lib: LibraryHandle): Constants => {
  const address = (name: string) => lib.symbol(name, 'int')
  return {
    world: address('ompi_mpi_comm_world'),
    float: address('ompi_mpi_float'),
    double: address('ompi_mpi_double'),
    sum: address('ompi_mpi_op_sum'),
    ...{ inPlace: 1, statusIgnore: 0, handle: 'intptr_t' },
  }
}

/** A function of the library; it returns an error code. */
type Call = KoffiFunc<(...values: unknown[]) => number>

/** A library with the functions that are used here. */
export interface MpiLibrary {
  readonly constants: Constants
  readonly init: Call
  readonly finalize: Call
  readonly abort: Call
  readonly iallreduce: Call
  readonly iallgather: Call
  readonly ibcast: Call
  readonly ibarrier: Call
  readonly test: Call
  readonly rank: Call
  readonly size: Call
}

/** @throws Error in one line that says what to install */
export async function loadMpi(launched: Launched): Promise<MpiLibrary> {
  const koffi = await import('koffi').then(
    (module) => module.default,
    () => {
      throw new Error('several ranks need the package koffi, which calls the MPI library: npm install koffi')
    },
  )
  // UCX, below MPICH and Open MPI, would rewrite the code of mmap and munmap in a process whose other threads run it. MPICH's
  // ranks sometimes crashed, as in https://github.com/openucx/ucx/issues/3831.
  process.env.UCX_MEM_EVENTS ??= 'n'
  koffi.config({ ...koffi.config(), async_stack_size: STACK_BYTES, sync_stack_size: STACK_BYTES })
  const lib = open((file) => koffi.load(file, { global: true }), launched)
  const constants = hasSymbol(lib, 'ompi_mpi_comm_world') ? openMpi(lib) : mpich
  const h = constants.handle
  const call = (name: string, ...types: string[]): Call => lib.func(`MPI_${name}`, 'int', types)
  return {
    constants,
    init: call('Init', 'void *', 'void *'),
    finalize: call('Finalize'),
    abort: call('Abort', h, 'int'),
    iallreduce: call('Iallreduce', 'intptr_t', 'void *', 'int', h, h, h, 'void *'),
    iallgather: call('Iallgather', 'void *', 'int', h, 'void *', 'int', h, h, 'void *'),
    ibcast: call('Ibcast', 'void *', 'int', h, 'int', h, 'void *'),
    ibarrier: call('Ibarrier', h, 'void *'),
    test: call('Test', 'void *', 'void *', 'intptr_t'),
    rank: call('Comm_rank', h, 'void *'),
    size: call('Comm_size', h, 'void *'),
  }
}

function hasSymbol(lib: LibraryHandle, name: string): boolean {
  try {
    lib.symbol(name, 'int')
    return true
  } catch {
    return false
  }
}

/** Opens the first file that is there: on the loader's path, then beside the launcher. */
function open(load: (file: string) => LibraryHandle, { family, library }: Launched): LibraryHandle {
  const files = library ? [library] : FILES[family]
  const beside = library ? [] : launcherFolders().flatMap((folder) => files.map((file) => join(folder, file)))
  let problem = ''
  for (const file of [...files, ...beside])
    try {
      return load(file)
    } catch (error) {
      problem ||= (error as Error).message
    }
  throw new Error(
    `the MPI library of the launcher (${family}) cannot be loaded: ${problem.replace(/\s+/g, ' ')}: install it (Debian: ${PACKAGES[family]}), or name its file in WEBGPU_SSL_MPI`,
  )
}

/** The lib folders that belong to the launchers on the path. */
function launcherFolders(): string[] {
  return (process.env.PATH ?? '').split(delimiter).flatMap((folder) => {
    try {
      const real = dirname(realpathSync(join(folder, 'mpirun')))
      return [join(real, '../lib'), join(real, '../lib64')]
    } catch {
      return []
    }
  })
}
