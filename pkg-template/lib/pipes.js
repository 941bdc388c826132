// Bytes of commands: what they print, as two streams or as a whole, and what they read.

import { invoke } from './calls.js';
import { ConflictError, NotImplementedError, NullspaceError } from './errors.js';

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
export const printed = ({ data, bytes }) => {
  if (bytes) return bytes;
  // Text alone stands for its bytes as long as none of them was replaced.
  if (!data.includes('\uFFFD')) return encoder.encode(data);
  throw new NotImplementedError({
    code: 'not_implemented',
    message:
      'this server sends output as text, in which bytes that are no UTF-8 are lost: let the command print base64',
  });
};

/** A command on its socket: `stdout` and `stderr` as streams, which have all that is printed from the start. */
export class Pipes {
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

/** What a command reads, as a stream. */
export const input = (write, close) =>
  new WritableStream({
    write: (chunk) => feed(chunk, write),
    close,
  });

/** Writes text or bytes, as fast as the command reads. */
const feed = async (chunk, write) => {
  const bytes = bytesOf(chunk);
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

const bytesOf = (chunk) => {
  if (typeof chunk === 'string') return encoder.encode(chunk);
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
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
export class Feed {
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
export class Kept {
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
