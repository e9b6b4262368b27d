/** The page: it asks the worker and shows what it answers. */
import './style.css'
import type { PartialConfig } from '../../config/config.js'
import { counted, formatCount } from '../../report/text.js'
import type { Ended, ExportFormat, KeptRun, Opened, PictureFile, Pictures, Reading } from '../protocol.js'
import { Client } from './client.js'
import { Dock } from './dock.js'
import { announce, find, setText } from './dom.js'
import { showHelp } from './help.js'
import { Learned } from './learned.js'
import { NeighbourFinder } from './neighbours.js'
import { showRuns } from './runs.js'
import { Settings, suggestedSide } from './settings.js'
import { listenForPictures } from './source.js'
import { followTheme } from './theme.js'
import { Training } from './training.js'
import { Views } from './views.js'

/** Side at which pictures are kept, as a multiple of the side of their views. */
const KEPT_SIDE = 1.5

/** 'new': nothing trained yet. */
type State = 'new' | 'running' | 'pausing' | 'paused' | 'done'

class Page {
  private readonly client = new Client()
  private readonly views = new Views(() => this.drawViews())
  private readonly settings = new Settings(() => this.drawViews())
  private readonly dock = new Dock()
  private readonly training = new Training(this.dock)
  private readonly learned = new Learned()
  private readonly neighbours = new NeighbourFinder()
  private opened!: Opened
  private pictures: Pictures | undefined
  private state: State = 'new'
  private steps = 0
  /** What the pictures are. */
  private described = ''
  private drawing: 'no' | 'yes' | 'again' = 'no'

  async start(): Promise<void> {
    followTheme(() => {
      this.training.recolor()
      this.learned.recolor()
    })
    try {
      this.opened = await this.client.ask('open')
    } catch (error) {
      showHelp((error as Error).message)
      return
    }
    const { adapter, adapterClass } = this.opened
    setText(
      find('adapter'),
      adapterClass === 'cpu' ? `${adapter}: the processor computes, so networks are small` : adapter,
    )
    this.listen()
    find<HTMLButtonElement>('sample').disabled = false
    await this.listRuns()
  }

  private listen(): void {
    listenForPictures({
      onSample: () => void this.load('Loading CIFAR-10 …', () => this.client.ask('sample')),
      onFiles: (files) => void this.load('Reading pictures …', () => this.readFiles(files)),
    })
    find('train').addEventListener('click', () => void this.pressed())
    find('new-run').addEventListener('click', () => this.begin())
    for (const button of document.querySelectorAll<HTMLButtonElement>('#downloads button'))
      button.addEventListener('click', () => void this.download(button.dataset.format as ExportFormat))
    this.client.on('progress', ({ what, share }) => {
      const text = share > 0 ? `${what}: ${Math.round(100 * share)} %` : `${what} …`
      if (this.state === 'running') this.say(text)
      else setText(find('pictures-status'), text)
    })
    this.client.on('begin', ({ step }) => {
      this.training.begin(step)
      this.say('Training. You may leave this tab; the run goes on and is saved every half minute.')
    })
    this.client.on('step', (metrics) => this.training.step(metrics))
    this.client.on('reading', (reading) => this.read(reading))
    this.client.on('message', ({ text }) => console.info(text))
  }

  /** Loads pictures and shows their views. */
  private async load(text: string, ask: () => Promise<Pictures>): Promise<void> {
    const status = find('pictures-status')
    setText(status, text)
    this.busy(true)
    try {
      this.show(await ask())
      this.begin()
      find('views').scrollIntoView({ block: 'start' })
    } catch (error) {
      setText(status, (error as Error).message)
    } finally {
      this.busy(false)
    }
  }

  private readFiles(files: PictureFile[]): Promise<Pictures> {
    const size = suggestedSide({ adapterClass: this.opened.adapterClass, isSample: false })
    return this.client.ask('pictures', { files, side: Math.round(KEPT_SIDE * size) })
  }

  private show(pictures: Pictures): void {
    this.pictures = pictures
    const { name, count, height, width, skipped } = pictures
    const called = name === 'cifar10' ? 'CIFAR-10' : 'Your pictures'
    const left = skipped ? ` ${counted(skipped, 'file')} could not be read as a picture.` : ''
    this.described = `${called}: ${formatCount(count)} pictures of ${width} × ${height} pixels.${left}`
    setText(find('pictures-status'), this.described)
    this.neighbours.start(pictures)
    for (const id of ['views', 'choices', 'training']) find(id).hidden = false
  }

  /** Forgets the run, and lets the user set the next one. */
  private begin(): void {
    this.settings.start(this.suggested())
    this.views.start(this.opened.recipe)
    this.training.start()
    this.learned.clear()
    this.neighbours.clear()
    for (const id of ['learned', 'neighbours', 'downloads']) find(id).hidden = true
    this.become('new')
    this.drawViews()
    void this.listRuns()
  }

  private suggested() {
    const { height: side, isSample, count } = this.pictures!
    return { adapterClass: this.opened.adapterClass, side, isSample, count }
  }

  private get config(): PartialConfig {
    const { views, settings } = this
    const augmentation = { recipe: 'cifar', ...views.augmentation, size: settings.size }
    return { ...settings.config, views: views.count, augmentation }
  }

  /** Draws the contact sheet; the newest wish wins while one is drawn. */
  private drawViews(): void {
    if (!this.pictures) return
    if (this.drawing !== 'no') {
      this.drawing = 'again'
      return
    }
    this.drawing = 'yes'
    const { views, settings } = this
    const config = {
      seed: 1,
      views: views.count,
      augmentation: { recipe: 'cifar', ...views.augmentation, size: settings.size },
    }
    this.client
      .ask('views', { config, images: views.images(this.pictures.count), draw: views.draw })
      .then((tiles) => views.show(tiles))
      .catch((error: Error) => setText(find('pictures-status'), error.message))
      .finally(() => {
        const again = this.drawing === 'again'
        this.drawing = 'no'
        if (again) this.drawViews()
      })
  }

  /** The button that trains, pauses and continues. */
  private async pressed(): Promise<void> {
    if (this.state === 'running') {
      this.become('pausing')
      await this.client.ask('pause')
      return
    }
    if (this.state === 'new' && !this.settings.isValid) return
    // Browsers that ask the user may then keep the runs for longer.
    void navigator.storage.persist().catch(() => false)
    const before = this.state
    this.become('running')
    this.say('Preparing …')
    try {
      if (before === 'new') await this.ended(await this.client.ask('train', { config: this.config }))
      else {
        const more = before === 'done' ? this.steps * 2 : undefined
        await this.ended(await this.client.ask('resume', { ...(more && { steps: more }) }))
      }
    } catch (error) {
      this.become(before === 'new' ? 'new' : 'paused')
      this.say((error as Error).message)
      announce((error as Error).message, true)
    }
  }

  private async ended({ stopped, step, steps }: Ended): Promise<void> {
    this.steps = steps
    this.become(stopped === 'done' ? 'done' : 'paused')
    const text =
      stopped === 'done'
        ? `Done after ${formatCount(steps)} steps. The run is kept in this browser. See below what has changed.`
        : `Paused at step ${formatCount(step)} and saved. You may close this tab and continue later.`
    this.say(text)
    announce(text, true)
    await this.listRuns()
  }

  /** Says how the training stands. */
  private say(text: string): void {
    setText(find('status'), text)
    this.dock.say(text)
  }

  private become(state: State): void {
    this.state = state
    const button = find<HTMLButtonElement>('train')
    const more = `Train ${formatCount(this.steps)} more steps`
    const texts = { new: 'Train', running: 'Pause', pausing: 'Saving …', paused: 'Continue', done: more }
    setText(button, texts[state])
    button.disabled = state === 'pausing'
    const isTraining = state === 'running' || state === 'pausing'
    this.busy(isTraining)
    this.settings.lock(state !== 'new')
    find('choices-hint').hidden = state !== 'new'
    this.views.lock(state !== 'new')
    find('new-run').hidden = state === 'new' || isTraining
    if (state === 'new') {
      setText(find('status'), '')
      this.dock.say(`${this.described} You can train at once.`)
    }
    this.dock.follow(button)
  }

  /** While something loads or trains, no other pictures and runs can be chosen. */
  private busy(busy: boolean): void {
    find('pictures').toggleAttribute('data-busy', busy)
    for (const control of find('pictures').querySelectorAll<HTMLButtonElement | HTMLInputElement>('button, input'))
      control.disabled = busy
  }

  private read(reading: Reading): void {
    for (const id of ['learned', 'neighbours']) find(id).hidden = false
    find('downloads').hidden = reading.step === 0
    this.learned.show(reading)
    this.neighbours.show(reading)
    // An opened run is read while nothing trains.
    if (reading.of === 'now' && this.state !== 'running') setText(find('pictures-status'), this.described)
    if (reading.of === 'now')
      for (const at of document.querySelectorAll<HTMLElement>('.after'))
        setText(at, `, ${reading.step ? `after ${counted(reading.step, 'step')}` : 'not trained yet'}`)
  }

  private async listRuns(): Promise<void> {
    const runs = await this.client.ask('runs').catch((): KeptRun[] => [])
    showRuns(runs, { onOpen: (run) => void this.reopen(run), onDelete: (run) => void this.remove(run) })
    if (this.state === 'running') this.busy(true)
  }

  private async reopen({ id }: KeptRun): Promise<void> {
    this.busy(true)
    setText(find('pictures-status'), 'Opening the run …')
    try {
      const { pictures, config, metrics, step, steps } = await this.client.ask('reopen', { id })
      this.show(pictures)
      this.learned.clear()
      this.neighbours.clear()
      this.settings.start(this.suggested(), config)
      this.views.start(config.augmentation, config.views)
      this.training.start(metrics)
      this.steps = steps
      this.become(step < steps ? 'paused' : 'done')
      this.say(`Opened at step ${formatCount(step)} of ${formatCount(steps)}.`)
      this.drawViews()
      find('training').scrollIntoView({ block: 'start' })
    } catch (error) {
      setText(find('pictures-status'), (error as Error).message)
    } finally {
      this.busy(false)
    }
  }

  private async remove({ id }: KeptRun): Promise<void> {
    try {
      if (await this.client.ask('remove', { id })) this.begin()
    } catch (error) {
      setText(find('pictures-status'), (error as Error).message)
    }
    await this.listRuns()
  }

  private async download(format: ExportFormat): Promise<void> {
    const status = find('download-status')
    setText(status, 'Writing the file …')
    try {
      const { name, bytes } = await this.client.ask('export', { format })
      const url = URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>]))
      const link = document.createElement('a')
      Object.assign(link, { href: url, download: name })
      link.click()
      setTimeout(() => URL.revokeObjectURL(url), 60_000)
      setText(status, `${name}: ${(bytes.length / 1e6).toFixed(1)} MB`)
    } catch (error) {
      setText(status, (error as Error).message)
    }
  }
}

void new Page().start()
