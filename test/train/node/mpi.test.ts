/** Ranks that `mpirun` starts, with each MPI library that is installed. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Purpose, RandomStream } from '../../../engine/index.js'
import { encodeRecords } from '../../../train/data/cifar_records.js'
import { launched } from '../../../train/node/mpi/launched.js'
import { hasCompiler, listEqualGpus } from '../../support/equal_gpus.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-mpi-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Debian's names: where both are installed, `mpirun` is only one of them. */
const launchers = [
  { family: 'openmpi', command: 'mpirun.openmpi', options: ['--allow-run-as-root', '--oversubscribe'] },
  { family: 'mpich', command: 'mpirun.mpich', options: [] },
]
const isInstalled = (command: string): boolean => spawnSync(command, ['--version']).status === 0

interface Ended {
  code: number | null
  stdout: string
  stderr: string
  seconds: number
}

function mpirun(command: string, options: readonly string[], count: number, ...program: string[]): Ended {
  const begun = performance.now()
  const args = [...options, '-np', String(count), process.execPath, ...program]
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    cwd: root,
    timeout: 60_000,
    env: { ...process.env, PMIX_MCA_gds: 'hash', NODE_NO_WARNINGS: '1' },
  })
  return { code: status, stdout, stderr, seconds: (performance.now() - begun) / 1000 }
}

const tsx = ['--import', import.meta.resolve('tsx')]
const rankProgram = [...tsx, join(root, 'test/support/mpi_process.ts')]
const webgpuSsl = join(root, 'engine/node/webgpu_ssl.mjs')
const data = join(folder, 'data')

beforeAll(() => {
  mkdirSync(data)
  const stream = new RandomStream(1, Purpose.subset)
  const pixels = Uint8Array.from({ length: 24 * 3072 }, () => stream.integer(256))
  const labels = Array.from({ length: 24 }, (_, i) => i % 10)
  writeFileSync(join(data, 'data_batch_1.bin'), encodeRecords(pixels, labels))
})

test('the launcher says which rank a process is', () => {
  expect(launched({})).toBeUndefined()
  expect(launched({ OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: '1' })).toBeUndefined()
  const open = { OMPI_COMM_WORLD_RANK: '3', OMPI_COMM_WORLD_SIZE: '8', OMPI_COMM_WORLD_LOCAL_RANK: '1' }
  expect(launched(open)).toEqual({ family: 'openmpi', rank: 3, size: 8, localRank: 1 })
  const hydra = { PMI_RANK: '1', PMI_SIZE: '2', MPI_LOCALRANKID: '0' }
  expect(launched(hydra)).toEqual({ family: 'mpich', rank: 1, size: 2, localRank: 0 })
  // A script of Slurm that runs alone is no rank.
  expect(launched({ SLURM_NTASKS: '4', SLURM_PROCID: '0' })).toBeUndefined()
  const pmix = { PMIX_RANK: '2', SLURM_NTASKS: '4', SLURM_LOCALID: '0' }
  expect(launched(pmix)).toEqual({ family: 'openmpi', rank: 2, size: 4, localRank: 0 })
  expect(launched({ ...hydra, WEBGPU_SSL_MPI: '/opt/lib/libmpi.so' })?.library).toBe('/opt/lib/libmpi.so')
  expect(launched({ ...hydra, WEBGPU_SSL_MPI: '' })).toEqual(launched(hydra))
  expect(() => launched({ WEBGPU_SSL_MPI: 'lam' })).toThrow("WEBGPU_SSL_MPI 'lam': give openmpi, mpich or the path")
})

describe.each(launchers)('$family', ({ command, options }) => {
  const missing = !isInstalled(command)
  const title = (name: string): string => (missing ? `${name} (skipped: ${command} is not installed)` : name)

  test.skipIf(missing)(title('three ranks sum, gather and broadcast'), () => {
    const { code, stdout, stderr } = mpirun(command, options, 3, ...rankProgram, 'exchange')
    expect(code, stderr).toBe(0)
    const { worst, ...found } = JSON.parse(stdout) as Record<string, unknown>
    expect(found).toEqual({
      ...{ size: 3, doubles: [expect.closeTo(3e-9, 18), 3], gathered: [0, 0, 1, 10, 2, 20], sent: Math.PI },
      ...{ repeats: true, same: true },
    })
    expect(worst).toBeLessThan(1e-6)
  })

  test.skipIf(missing || !hasCompiler)(title('each rank takes one of the equal GPUs of its machine'), () => {
    const { code, stdout, stderr } = mpirun(command, options, 3, ...rankProgram, 'gpus', listEqualGpus(folder))
    expect(code, stderr).toBe(0)
    expect(JSON.parse(stdout)).toEqual([0, 1, 2])
  })

  // Where other programs compute beside it, MPICH's launcher sometimes hangs before a rank has printed its first line.
  const again = { retry: 2, timeout: 300_000 }
  test.skipIf(missing)(title('two ranks pretrain, stop, and one resumes; a rank that dies ends all'), again, () => {
    const run = join(folder, command)
    rmSync(run, { recursive: true, force: true })
    const shared = ['--data-dir', data, '--width', '4', '--image-size', '8', '--views', '2', '--projector-dim', '8']
    const rest = ['--batch', '8', '--no-tune', '--checkpoint-every', '1', '--out', run]
    const pretrain = [webgpuSsl, 'pretrain', ...shared, ...rest]
    const begun = mpirun(command, options, 2, ...pretrain, '--steps', '3')
    expect(begun.code, begun.stderr).toBe(0)
    expect(begun.stderr).toContain('2 ranks')
    // One rank prints, one rank writes.
    expect(begun.stderr.match(/steps of 8 images/g)).toHaveLength(1)
    const lines = (): number => readFileSync(join(run, 'metrics.jsonl'), 'utf8').trim().split('\n').length
    expect(lines()).toBe(3)
    expect(existsSync(join(run, 'report.html'))).toBe(true)

    const refused = mpirun(command, options, 2, ...pretrain, '--steps', '3')
    expect(refused.code).not.toBe(0)
    expect(refused.stderr.match(/holds a run already/g)).toHaveLength(1)

    const resumed = spawnSync(
      process.execPath,
      [webgpuSsl, 'pretrain', '--resume', '--out', run, '--steps', '4', '--no-tune'],
      {
        encoding: 'utf8',
        cwd: root,
      },
    )
    expect(resumed.status, resumed.stderr).toBe(0)
    expect(lines()).toBe(4)

    const killed = mpirun(command, options, 2, ...rankProgram, 'die')
    expect(killed.code).not.toBe(0)
  })
})
