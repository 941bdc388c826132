// Bytes of commands: what they print, as two streams or as a whole, and what they read.

import { forget, heed } from './abort.js';
import { invoke } from './calls.js';
import { bytesOf } from './content.js';
import { ConflictError, NotImplementedError, NullspaceError } from './errors.js';
import { make } from './handle.js';
import { ofCommands, openStream, stream } from './streams.js';
import { flag, functionOf, wrong } from './checks.js';

/** What waits unread in each stream until its command is slowed down, as by a pipe. Bytes. */
const UNREAD = 1 << 20;
/** What waits unread in a stream while somebody waits for the end of its command. Bytes. */
const MOST_UNREAD = 64 << 20;
/** What a result keeps of each stream. Bytes. */
const KEPT = 32 << 20;
/** Bytes of one write. */
const PART = 512 << 10;

const encoder = new TextEncoder();

/** Bytes of an event of a stream that was asked for bytes. */
const printed = ({ data, bytes }) => {
  if (bytes) return bytes;
  // Text alone stands for its bytes as long as none of them was replaced.
  if (!data.includes('\uFFFD')) return encoder.encode(data);
  throw new NotImplementedError({
    code: 'not_implemented',
    message:
      'this server sends output as text, in which bytes that are no UTF-8 are lost: let the command print base64',
  });
};

/** An event of a stream that was asked for bytes. */
export const asBytes = ({ bytes, ...event }) =>
  event.kind === 'stdout' || event.kind === 'stderr' ? { ...event, data: printed({ ...event, bytes }) } : event;

/** A command on its socket: `stdout` and `stderr` as streams, which have all that is printed from the start. */
class Pipes {
  #inner;
  #sides = {};
  #waiting = 0;
  #wake = () => {};

  constructor(inner) {
    this.#inner = inner;
    for (const kind of ['stdout', 'stderr']) {
      const side = { isOpen: true, isTaken: false };
      side.stream = new ReadableStream(
        {
          start: (controller) => {
            side.controller = controller;
          },
          pull: () => this.#wake(),
          cancel: () => {
            side.isOpen = false;
            this.#wake();
          },
        },
        new ByteLengthQueuingStrategy({ highWaterMark: UNREAD }),
      );
      this.#sides[kind] = side;
    }
    this.#pump();
  }

  /** Gives a stream to somebody who reads it. */
  take(kind) {
    const side = this.#sides[kind];
    side.isTaken = true;
    return side.stream;
  }

  /** Somebody waits for the end of the command: what nobody reads must not keep it from there. */
  async whileWaiting(work) {
    this.#waiting += 1;
    // One that has failed already, with its connection, says so to its readers alone.
    for (const side of Object.values(this.#sides)) if (!side.isTaken) await side.stream.cancel().catch(() => {});
    this.#wake();
    try {
      return await work();
    } finally {
      this.#waiting -= 1;
    }
  }

  async closeStdin(options) {
    return invoke(() => this.#inner.closeStdin(options));
  }

  /** Hears no more of it; it goes on. */
  disconnect() {
    this.#inner.close();
    this.#end((controller) => controller.close());
  }

  #end(how) {
    for (const side of Object.values(this.#sides)) {
      if (side.isOpen) how(side.controller);
      side.isOpen = false;
    }
    this.#wake();
  }

  async #pump() {
    try {
      for (;;) {
        await this.#room();
        const event = await invoke(() => this.#inner.next({}));
        if (event === undefined || event.kind === 'exit') return this.#end((controller) => controller.close());
        const side = this.#sides[event.kind];
        if (side?.isOpen) this.#push(side, printed(event));
      }
    } catch (error) {
      this.#end((controller) => controller.error(error));
      this.#inner.close();
    }
  }

  #push(side, bytes) {
    side.controller.enqueue(bytes);
    if (side.controller.desiredSize >= UNREAD - MOST_UNREAD) return;
    side.isOpen = false;
    side.controller.error(
      new NullspaceError({
        code: 'stream_overflow',
        message: `${MOST_UNREAD} bytes of the command's output were not read`,
      }),
    );
  }

  async #room() {
    const isFull = ({ isOpen, controller }) => isOpen && controller.desiredSize <= 0;
    while (this.#waiting === 0 && Object.values(this.#sides).some(isFull))
      await new Promise((resolve) => {
        this.#wake = resolve;
      });
  }
}

/** Writes text or bytes, as fast as the command reads. */
export const feed = async (chunk, write) => {
  const bytes = chunkBytes(chunk);
  for (let at = 0; at < bytes.length; ) {
    const part = bytes.subarray(at, at + PART);
    try {
      await write(part);
      at += part.length;
    } catch (error) {
      // It does not read at the moment.
      const written = error instanceof ConflictError ? error.details?.written_bytes : undefined;
      if (written === undefined) throw error;
      at += written;
    }
  }
};

const chunkBytes = (chunk) => {
  const bytes = typeof chunk === 'string' ? encoder.encode(chunk) : bytesOf(chunk);
  if (bytes) return bytes;
  throw new TypeError('stdin takes text and bytes: give a string, a Uint8Array, or a stream of them');
};

/** What gives the parts of a standard input: `next` as of an iterator, and `stop`, also while one is waited for. */
const partsOf = (given) => {
  if (typeof given?.getReader === 'function') {
    const reader = given.getReader();
    return { next: () => reader.read(), stop: () => reader.cancel() };
  }
  const steps = given?.[Symbol.asyncIterator]?.() ?? [given ?? ''].values();
  return { next: () => steps.next(), stop: () => steps.return?.() };
};

/** Feeds a command all that it shall read, and then the end. */
class Feed {
  #parts;
  #isOver = false;

  constructor(given) {
    this.#parts = partsOf(given);
  }

  async run(write, close) {
    try {
      for (;;) {
        const { done, value } = await this.#parts.next();
        if (this.#isOver) return;
        if (done) break;
        await feed(value, write);
      }
      await close();
    } catch (error) {
      // A command that wants no more has ended, or has closed it.
      if (this.#isOver || error instanceof ConflictError || error?.code === 'not_found') return;
      throw error;
    } finally {
      this.stop();
    }
  }

  /** Takes no more of what was given. */
  stop() {
    if (this.#isOver) return;
    this.#isOver = true;
    (async () => this.#parts.stop())().catch(() => {});
  }
}

/** The beginning of what one stream printed. */
class Kept {
  #parts = [];
  #size = 0;
  /** Bytes that are missing. */
  dropped = 0;

  push(bytes) {
    const more = this.dropped ? 0 : Math.min(bytes.length, KEPT - this.#size);
    if (more > 0) this.#parts.push(bytes.subarray(0, more));
    this.#size += more;
    this.dropped += bytes.length - more;
  }

  bytes() {
    const all = new Uint8Array(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

/** Starts a command in the background whose output goes into streams. */
const start = async (record, command, options) => {
  const inner = await openStream(record, command, { ...options, timeout: options.timeout ?? 'none' });
  try {
    const { pid } = await invoke(() => inner.next({ signal: options.signal }));
    inner.stay();
    return make('Command', { machine: record, pid, pipes: new Pipes(inner) });
  } catch (error) {
    inner.close();
    throw error;
  }
};

/** Runs a command to its end on a socket, as bytes. */
const runOnSocket = async (record, command, { stdin, encoding, onStdout, onStderr, signal, ...wanted }) => {
  const isText = encoding !== 'bytes';
  const side = (hear) => {
    const [kept, decoder] = [new Kept(), new TextDecoder('utf-8', { ignoreBOM: true })];
    return {
      kept,
      push: (bytes) => {
        kept.push(bytes);
        return hear?.(isText ? decoder.decode(bytes, { stream: true }) : bytes);
      },
      value: () => {
        if (!isText) return kept.bytes();
        return new TextDecoder('utf-8', { ignoreBOM: true }).decode(kept.bytes());
      },
    };
  };
  const sides = { stdout: side(onStdout), stderr: side(onStderr) };
  const fed = new Feed(stdin);
  // Ends with the signal, and when what it is fed with fails.
  const stop = new AbortController();
  const pass = () => stop.abort(signal.reason);
  if (signal?.aborted) pass();
  else if (signal) heed(signal, pass);
  const result = {};
  try {
    for await (const event of stream(record, command, { ...wanted, encoding: 'bytes' }, stop.signal)) {
      if (event.kind === 'started') {
        const { pid } = event;
        result.pid = pid;
        fed
          .run(
            (bytes) => ofCommands.sendStdin(record, pid, bytes, { signal: stop.signal }),
            () => ofCommands.closeStdin(record, pid, { signal: stop.signal }),
          )
          .catch((error) => stop.abort(error));
      } else if (event.kind === 'exit') result.exitCode = event.exitCode;
      else await sides[event.kind].push(event.data);
    }
  } finally {
    fed.stop();
    if (signal) forget(signal, pass);
  }
  const dropped = [sides.stdout.kept.dropped, sides.stderr.kept.dropped];
  return {
    exitCode: result.exitCode,
    stdout: sides.stdout.value(),
    stderr: sides.stderr.value(),
    pid: result.pid,
    ...(dropped.some(Boolean) && { truncated: true, droppedStdoutBytes: dropped[0], droppedStderrBytes: dropped[1] }),
  };
};

/** `commands.run` of a command that is fed, or whose output is wanted as bytes. */
export const run = (record, command, options) => {
  const { stdin, background, onStdout, onStderr, ...wanted } = options;
  functionOf('onStdout', onStdout);
  functionOf('onStderr', onStderr);
  if (!flag('background', background)) return runOnSocket(record, command, options);
  if (stdin !== undefined) wrong('stdin', 'is for a command that is waited for: write to `command.stdin` instead');
  if (onStdout || onStderr)
    wrong('onStdout', 'does not go with bytes in the background: read `command.stdout` instead');
  return start(record, command, wanted);
};
