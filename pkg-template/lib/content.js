// Bytes on their way: what calls send and get as they are. They never enter the module, which only names them.

const held = new Map();
let last = 0;

/** Bytes of a known size that can be read again from their beginning: `open` gives them as a stream. */
export const sourced = (size, open) => ({ size, stream: open, isSource: true });

const isStream = (value) => typeof value?.getReader === 'function';
const isBlob = (value) => typeof value?.stream === 'function' && typeof value.size === 'number';

/** A view of bytes, or `undefined`. */
export const bytesOf = (value) => {
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (Object.prototype.toString.call(value) === '[object ArrayBuffer]') return new Uint8Array(value);
  return undefined;
};

/** Bytes as base64. */
export const base64Of = (bytes) => {
  let binary = '';
  for (let index = 0; index < bytes.length; index += 8192)
    binary += String.fromCharCode(...bytes.subarray(index, index + 8192));
  return btoa(binary);
};

const keep = (value) => {
  last = (last % 0x7fffffff) + 1;
  held.set(last, { value, thrown: undefined });
  return last;
};

/** Keeps a string, bytes, a `Blob`, or a `ReadableStream` of bytes; 0 for anything else. */
export const holdContent = (value) => {
  if (typeof value === 'string') return keep(new TextEncoder().encode(value));
  const bytes = bytesOf(value);
  if (bytes) return keep(bytes);
  return isBlob(value) || isStream(value) ? keep(value) : 0;
};

/** Keeps a multipart body. 0 when a part is no content that has a size. */
export const holdMultipart = (manifest, parts, boundary) => {
  const head = (name, file, type) =>
    `--${boundary}\r\ncontent-disposition: form-data; name="${name}"; filename="${file}"\r\ncontent-type: ${type}\r\n\r\n`;
  const pieces = [head('manifest', 'manifest.json', 'application/json'), manifest, '\r\n'];
  for (const [index, part] of parts.entries()) {
    const value = typeof part === 'string' || isBlob(part) ? part : bytesOf(part);
    if (value === undefined) return 0;
    pieces.push(head(`file${index}`, `file${index}.bin`, 'application/octet-stream'), value, '\r\n');
  }
  pieces.push(`--${boundary}--\r\n`);
  return keep(new Blob(pieces));
};

/** Forgets content. Gives what its source threw, when that ended the request. */
export const releaseContent = (name) => {
  const entry = held.get(name);
  held.delete(name);
  return entry?.thrown;
};

/** What was kept: `{ value, thrown }`. */
export const contentNamed = (name) => (name === undefined ? undefined : held.get(name));

/** Bytes in `value`, when that is known. */
export const sizeOf = (value) => (isStream(value) ? undefined : (value.byteLength ?? value.size));

/** A reader of `Uint8Array`s of content that is no plain view. */
const readerOf = (value) => (isStream(value) ? value : value.stream()).getReader();

/**
 * Reads content piece by piece and hands it on; `write` resolves when more may come. What the source throws is kept with
 * the content. A source that is given up is cancelled.
 */
export const pump = async (entry, write) => {
  if (entry.value instanceof Uint8Array) {
    await write(entry.value);
    return;
  }
  const reader = readerOf(entry.value);
  try {
    for (;;) {
      let step;
      try {
        step = await reader.read();
        if (step.done) return;
        if (!(step.value instanceof Uint8Array)) step.value = bytesOf(step.value);
        if (step.value === undefined) throw new TypeError('a ReadableStream of content must give bytes (Uint8Array)');
      } catch (thrown) {
        entry.thrown = thrown;
        throw thrown;
      }
      await write(step.value);
    }
  } catch (error) {
    reader.cancel(error).catch(() => {});
    throw error;
  }
};

/** A decoder that gives the body as it is. */
export const isRaw = (decoder) => decoder[0] === '#';

/** The whole body as a decoder of bytes gives it; throws a text when it cannot be that. */
export const wholeBody = (decoder, chunks) => {
  if (decoder === '#blob') return new Blob(chunks);
  let size = 0;
  for (const chunk of chunks) size += chunk.length;
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  if (decoder === '#bytes') return bytes;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw "the file is no UTF-8 text: read it with { format: 'bytes' }";
  }
};

/** An error body beyond this is cut: it is shown to a person. */
export const ERROR_BODY_LIMIT = 1 << 20;

/** Puts a decoded answer into an outcome, or why it is none. */
export const answered = (outcome, read) => {
  try {
    outcome.answer = read();
  } catch (reason) {
    outcome.phase = 'decode';
    outcome.message = typeof reason === 'string' ? reason : reason.message;
  }
};
