/** Batch scripts: what Slurm reads of them, and what bash makes of their words. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { overlaySlurm, readSlurmFile, slurmOptions } from '../../../../train/node/slurm/options.js'
import { arrayScript, nodesScript, quoted } from '../../../../train/node/slurm/script.js'

const folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-'))
afterAll(() => rmSync(folder, { recursive: true }))

const directives = (script: string): string[] => script.split('\n').filter((line) => line.startsWith('#SBATCH'))

test('an array has a task for each run, and goes back to the queue', () => {
  const options = slurmOptions({ partition: 'gpu', gres: 'gpu:1', time: '4:00:00', comment: 'two words' }, [
    'module load nodejs',
  ])
  const script = arrayScript({ name: 'my sweep', count: 8, most: 3, log: '/x/%a.log', command: ['run'], options })
  expect(directives(script)).toEqual([
    '#SBATCH --job-name=my-sweep',
    '#SBATCH --array=0-7%3',
    '#SBATCH --output=/x/%a.log',
    '#SBATCH --open-mode=append',
    '#SBATCH --requeue',
    '#SBATCH --signal=B:USR2@120',
    '#SBATCH --partition=gpu',
    '#SBATCH --gres=gpu:1',
    '#SBATCH --time=4:00:00',
    '#SBATCH --comment="two words"',
  ])
  expect(script).toMatch(/^module load nodejs$/m)
  expect(script).toMatch(/^run "\$SLURM_ARRAY_TASK_ID" &$/m)
})

test('one run on several nodes starts a process for each rank, and continues if it has begun', () => {
  const begun = join(folder, 'begun')
  const script = nodesScript({
    ...{ name: 'a', nodes: 2, ranksPerNode: 4, log: 'a.log', begun, options: slurmOptions({ gres: 'gpu:4' }) },
    ...{ command: ['echo', 'starts', "it's"], resume: ['echo', 'continues'] },
  })
  expect(directives(script)).toEqual(expect.arrayContaining(['#SBATCH --nodes=2', '#SBATCH --ntasks-per-node=4']))
  // srun is not here: its place is taken by a function that shows its arguments.
  const run = (): string =>
    execFileSync('bash', ['-c', `srun() { echo "[$1]"; shift; "$@"; }\n${script}`], { encoding: 'utf8' })
  expect(run()).toBe("[--mpi=pmix]\nstarts it's\n")
  writeFileSync(begun, '')
  expect(run()).toBe('[--mpi=pmix]\ncontinues\n')
})

describe('the exit code of the command is that of the script', () => {
  const script = (program: string): string =>
    arrayScript({ name: 'a', count: 1, log: 'a', command: ['bash', '-c', program], options: slurmOptions({}) })

  async function run(program: string, signals: NodeJS.Signals[] = []) {
    const text = `scontrol() { echo "scontrol $*"; }\n${script(program)}`
    const env = { ...process.env, SLURM_ARRAY_JOB_ID: '7', SLURM_ARRAY_TASK_ID: '3' }
    const child = spawn('bash', ['-c', text], { env, stdio: ['ignore', 'pipe', 'inherit'] })
    let output = ''
    child.stdout.on('data', (bytes: Buffer) => {
      output += bytes.toString()
      if (output.includes('ready\n')) for (const signal of signals.splice(0)) child.kill(signal)
    })
    const code = await new Promise((resolve) => child.on('close', resolve))
    return { code, output }
  }
  const saving = "trap 'sleep 0.2; exit 143' TERM; echo ready; sleep 20 > /dev/null 2>&1 & wait; echo not reached"

  test.each([0, 1, 143])('%s', async (code) => {
    expect(await run(`exit ${code}`)).toEqual({ code, output: '' })
  })

  test('after a warning a saved run goes back to the queue', async () => {
    const { code, output } = await run(saving, ['SIGUSR2'])
    expect(code).toBe(143)
    expect(output).toMatch(/goes back to the queue\nscontrol requeue 7_3\n$/)
  })

  test('a job that Slurm ends only saves its run', async () => {
    expect(await run(saving, ['SIGTERM'])).toEqual({ code: 143, output: 'ready\n' })
  })
})

test.each(['plain', '', "it's", '$HOME `x` "y" \\', 'a b', 'runs/ü=1', '*'])('bash reads %j back', (word) => {
  expect(execFileSync('bash', ['-c', `printf %s ${quoted(word)}`], { encoding: 'utf8' })).toBe(word)
})

describe('options', () => {
  const file = (text: string): string => {
    const path = join(folder, 'slurm.yaml')
    writeFileSync(path, text)
    return path
  }

  test('come from a file, and the command line wins', async () => {
    const read = await readSlurmFile(file('partition: gpu\ntime: 4:00:00\nmem: 20\nexclusive: true\nsetup: [a, b]'))
    expect(overlaySlurm(read, slurmOptions({ partition: 'debug', account: undefined }))).toEqual({
      sbatch: { partition: 'debug', time: '4:00:00', mem: '20', exclusive: true },
      setup: ['a', 'b'],
    })
  })

  test.each([
    ['array: 0-3', "Slurm option 'array': is chosen by this command"],
    ['Partition: gpu', "Slurm option 'Partition': is not the name of an option of sbatch"],
    ['comment: "a\\n#SBATCH --x"', 'Slurm option \'comment\': "a\\n#SBATCH --x" is not a value that sbatch takes'],
    ['mem: [a]', 'slurm.yaml: mem: must be one value'],
    ['- a', 'slurm.yaml: '],
  ])('%j are refused', async (text, message) => {
    await expect(readSlurmFile(file(text))).rejects.toThrow(message)
  })
})
