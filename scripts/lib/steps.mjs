// Steps with elapsed times: one line each, redrawn in place on a terminal. A step's output goes into a log file, of
// which the end is shown when the step fails.

import { once } from 'node:events';
import { createWriteStream, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { isStopping, start } from './cleanup.mjs';
import { devDir, root } from './project.mjs';

const logs = path.join(devDir, 'logs');
/** Lines of a failed step's log that are shown. */
const TAIL = 40;
/** Lines of an excerpt that are shown. */
const EXCERPT = 200;
/** Without a terminal, a long step says that it is alive this often. Milliseconds. */
const HEARTBEAT_MS = 30_000;

/** A step failed. The message is for people; the log has the rest. */
export class StepError extends Error {
  /** What of the log to show instead of its end. */
  excerpt = '';

  constructor(message, options = {}) {
    super(message, options);
    this.excerpt = options.excerpt ?? '';
  }
}

/** What a step's function works with. */
class Step {
  #log;
  /** Shown after the step's name once it has ended, such as `unchanged`. */
  note = '';

  constructor(slug) {
    this.logFile = path.join(logs, `${slug}.log`);
    mkdirSync(logs, { recursive: true });
    this.#log = createWriteStream(this.logFile);
  }

  /** Adds text to the log. */
  write(text) {
    this.#log.write(text);
  }

  /**
   * Runs a command to its end; its output goes into the log: as it comes, or `together` at the end, for commands that
   * run side by side.
   *
   * @returns {Promise<{ code: number, output: string }>} the exit code and the output, both streams
   */
  async try(command, args, { onOutput, together = false, ...options } = {}) {
    const write = together ? () => {} : (text) => this.write(text);
    const line = `$ ${[command, ...args].join(' ')}\n`;
    write(line);
    const child = start(command, args, { cwd: root, ...options });
    const chunks = [];
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        chunks.push(text);
        write(text);
        onOutput?.(text);
      });
    }
    const code = await new Promise((resolve) => {
      child.once('error', (error) => {
        chunks.push(`${error.message}\n`);
        write(`${error.message}\n`);
        resolve(127);
      });
      child.once('close', (status, signal) => resolve(status ?? 128 + (signal === 'SIGKILL' ? 9 : 15)));
    });
    const output = chunks.join('');
    if (together) this.write(line + output);
    return { code, output };
  }

  /** Runs a command that must succeed. Resolves with its output. */
  async run(command, args, options) {
    const { code, output } = await this.try(command, args, options);
    if (code !== 0) throw new StepError(`${command} ended with exit code ${code}`);
    return output;
  }

  async close() {
    if (this.#log.closed) return;
    this.#log.end();
    await once(this.#log, 'close');
  }
}

const times = [];
const onTerminal = process.stdout.isTTY === true;

/** Name and seconds of every step so far. */
export const stepTimes = () => times;

/**
 * Runs one step. `work(step)` does it; what it throws ends the program's work, after the log's end was shown.
 *
 * @template T
 * @param {string} title shown to people
 * @param {(step: Step) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(title, work) {
  const slug = title.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  const current = new Step(slug);
  const begun = Date.now();
  const stopDrawing = draw(title, begun);
  try {
    const result = await work(current);
    if (isStopping()) await new Promise(() => {});
    finish('ok', title, begun, current.note, stopDrawing);
    return result;
  } catch (error) {
    // A signal is ending everything, this step too, which must not be reported as failed.
    if (isStopping()) await new Promise(() => {});
    finish('FAILED', title, begun, error.message, stopDrawing);
    await current.close();
    if (error.excerpt) showLines(error.excerpt.trimEnd().split('\n').slice(0, EXCERPT));
    else showEnd(current.logFile);
    console.log(`     The whole log: ${path.relative(process.cwd(), current.logFile)}`);
    throw error instanceof StepError ? error : new StepError(error.message, { cause: error });
  } finally {
    await current.close();
  }
}

/** What runs now and when it began: several where work is done side by side. */
const running = new Map();
let drawing;

function draw(title, begun) {
  running.set(title, begun);
  if (!onTerminal) {
    console.log(`     ${title} ...`);
    const timer = setInterval(() => console.log(`     ${title} ... ${seconds(begun)}, still at it`), HEARTBEAT_MS);
    return () => {
      running.delete(title);
      clearInterval(timer);
    };
  }
  drawing ??= setInterval(redraw, 200);
  redraw();
  return () => {
    running.delete(title);
    if (running.size === 0) {
      clearInterval(drawing);
      drawing = undefined;
    }
    process.stdout.write('\r\u001b[2K');
  };
}

/** One line, never longer than the terminal is wide: a second one could not be taken back. */
function redraw() {
  const all = [...running].map(([title, begun]) => `${title} ... ${seconds(begun)}`).join('; ');
  process.stdout.write(`\r\u001b[2K${`     ${all}`.slice(0, process.stdout.columns - 1)}`);
}

function finish(outcome, title, begun, note, stopDrawing) {
  stopDrawing();
  times.push({ title, seconds: (Date.now() - begun) / 1000, outcome });
  console.log(`${outcome === 'ok' ? ' ok ' : outcome} ${title}${note ? ` (${note})` : ''} ${seconds(begun)}`);
}

function showEnd(file) {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  if (lines.length > TAIL) console.log(`     ... ${lines.length - TAIL} lines before these ...`);
  showLines(lines.slice(-TAIL));
}

function showLines(lines) {
  for (const line of lines) console.log(`     ${line}`);
}

const seconds = (begun) => `${((Date.now() - begun) / 1000).toFixed(1)} s`;
