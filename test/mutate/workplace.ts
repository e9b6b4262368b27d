/** A copy of the working tree, in which mutants are tried. */
import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))

export class Workplace {
  readonly folder = mkdtempSync(join(tmpdir(), 'webgpu-ssl-mutate-'))
  /** All files, tracked or not, that git does not ignore. */
  readonly files: readonly string[]

  constructor() {
    const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], { cwd: root, encoding: 'utf8' })
    this.files = listed.split('\0').filter((file) => file && existsSync(join(root, file)))
    for (const file of this.files) {
      mkdirSync(dirname(join(this.folder, file)), { recursive: true })
      copyFileSync(join(root, file), join(this.folder, file))
    }
    symlinkSync(join(root, 'node_modules'), join(this.folder, 'node_modules'), 'junction')
  }

  read = (file: string): string => readFileSync(join(this.folder, file), 'utf8')
  write = (file: string, text: string): void => writeFileSync(join(this.folder, file), text)
  remove = (): void => rmSync(this.folder, { recursive: true, force: true })
}
