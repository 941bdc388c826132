// The files of a template: which ones a build takes, what they are called there, their digests, and the way of their content to the
// server. Each is read piece by piece, when it is hashed and again when it is sent: the context is never in memory. Loaded with the
// first build only.

import { base64Of, sourced } from './content.js';
import { ofFiles, ofHandle } from './directory.js';
import rulesOf from './dockerignore.js';
import { BuildError, InvalidRequestError, InvalidResponseError } from './errors.js';
import { wrong } from './checks.js';
import { quoted } from './shell.js';
import { digestOf } from './upload.js';

/** Patterns of what a context leaves out. */
const IGNORE_FILE = '.dockerignore';
/** Files that are hashed or sent at once. */
const AT_ONCE = 4;
/** Bytes of a file that is sent as a whole. */
const SMALL = 1 << 20;
const PIECE = 1 << 20;
/** Bytes of files inside a body, for a server that keeps none beside it. */
const INLINE_LIMIT = 32 << 20;
/** Bytes of the command that makes links: less than a program takes as one word. */
const LINKS_LIMIT = 64 << 10;

const decode = (bytes) => new TextDecoder().decode(bytes);
const octal = (mode) => (mode === undefined ? undefined : (mode & 0o777).toString(8).padStart(4, '0'));
const isAbsolute = (path) => /^(\/|[A-Za-z]:[\\/])/.test(path);
const lines = (text) => text.split(/\r?\n/);

/** Name of a source in the context: no server has to cope with more. Source: PROTOCOL.md section 11. */
const segment = (name) => name.replace(/[^\p{L}\p{N}._-]/gu, '_') || 'context';

/** Does all, some at once; the first failure ends it. */
const each = async (items, act) => {
  const waiting = items.values();
  let failed = false;
  const work = async () => {
    for (const item of waiting) {
      if (failed) return;
      try {
        await act(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  // All are waited for: what is under way holds files open.
  const ends = await Promise.allSettled(Array.from({ length: AT_ONCE }, work));
  const bad = ends.find(({ status }) => status === 'rejected');
  if (bad) throw bad.reason;
};

// ---- Where files are ------------------------------------------------------------------------------------------

/** A directory of this computer. */
const ofPath = (root, { openPath, contextPath, readText }) => ({
  ignoreText: async (name) => readText(contextPath(root, name).full),
  async open(source) {
    const { full, inside } = contextPath(root ?? '.', source);
    let found;
    try {
      found = await openPath(full);
    } catch (cause) {
      const what = cause.code === 'ENOENT' ? 'is not there' : `cannot be read: ${cause.message}`;
      throw new InvalidRequestError({
        code: 'invalid_request',
        message: `the source '${source}' ${what} (${full})`,
        cause,
      });
    }
    // What is outside of the context is no matter of its patterns.
    return { name: found.name, inside: root === undefined ? undefined : inside, ...found };
  },
});

/** Files of a page, all known at once. */
const ofEntries = async (given) => {
  const { name, entries } = given.kind === 'directory' ? await ofHandle(given) : ofFiles(given);
  const all = [];
  for await (const entry of entries(
    () => false,
    () => {},
    IGNORE_FILE,
  ))
    all.push(entry);
  return {
    async ignoreText(path) {
      const entry = all.find((one) => one.path === path);
      return entry && decode(await entry.read(0, entry.size));
    },
    async open(source) {
      const inside = source
        .replace(/^(\.?\/)+/, '')
        .replace(/(^|\/)\.?$/, '')
        .replace(/\/+$/, '');
      const file = all.find(({ path, directory }) => path === inside && !directory);
      if (file) return { ...file, name: inside.split('/').at(-1), inside };
      const above = inside === '' ? '' : `${inside}/`;
      const below = all.filter(({ path }) => path.startsWith(above));
      if (below.length === 0)
        throw new InvalidRequestError({
          code: 'invalid_request',
          message: `the source '${source}' is not in the file context`,
        });
      return {
        name: inside === '' ? (name ?? 'context') : inside.split('/').at(-1),
        inside,
        async *entries(skip) {
          // A list of files tells no directories: they are where files are.
          const made = new Set();
          const out = new Set();
          for (const entry of below) {
            const path = entry.path.slice(above.length);
            const parts = path.split('/');
            let isOut = false;
            for (let depth = 1; depth < parts.length && !isOut; depth++) {
              const directory = parts.slice(0, depth).join('/');
              if (made.has(directory)) continue;
              isOut = out.has(directory) || skip(directory, true);
              if (isOut) {
                out.add(directory);
              } else {
                made.add(directory);
                yield { path: directory, directory: true };
              }
            }
            if (isOut || made.has(path)) continue;
            if (skip(path, entry.directory === true)) {
              if (entry.directory) out.add(path);
              continue;
            }
            if (entry.directory) made.add(path);
            yield { ...entry, path };
          }
        },
      };
    },
  };
};

/** A source that is no path: a file, or a handle. */
const ofObject = async (source) => {
  if (source.kind === 'directory') return ofHandle(source);
  const read = async (begin, end) => new Uint8Array(await source.slice(begin, end).arrayBuffer());
  return { name: source.name, size: source.size, read, blob: source };
};

// ---- What a build takes ---------------------------------------------------------------------------------------

/** Walks a directory past its patterns. Gives entries, those of directories only when something says that they are wanted. */
const walk = async function* (found, rules, leftOut) {
  const prefix = found.inside === undefined || found.inside === '' ? '' : `${found.inside}/`;
  const isJudged = rules !== undefined && found.inside !== undefined;
  /** Directories that are left out, but for what may be brought back from them. */
  const held = new Map();
  const skip = (path, isDirectory) => {
    if (!isJudged || !rules.ignores(prefix + path, isDirectory)) return false;
    if (isDirectory && rules.mayKeep(prefix + path)) {
      held.set(path, undefined);
      return false;
    }
    leftOut.push({ path: prefix + path, entryType: isDirectory ? 'dir' : 'file' });
    return true;
  };
  for await (const entry of found.entries(skip, () => {}, IGNORE_FILE)) {
    if (entry.directory && held.has(entry.path)) {
      held.set(entry.path, entry);
      continue;
    }
    const parts = entry.path.split('/');
    for (let depth = 1; depth < parts.length; depth++) {
      const above = parts.slice(0, depth).join('/');
      if (!held.has(above)) continue;
      const directory = held.get(above);
      held.delete(above);
      if (directory) yield directory;
    }
    yield entry;
  }
};

/** Commands that make links where a copy has put what is around them. */
const linkSteps = (links, { dst, user }) => {
  const steps = [];
  let command = '';
  const push = () => {
    if (command !== '') steps.push({ action: 'run', command, user: 'root' });
    command = '';
  };
  for (const { path, link } of links) {
    const at = quoted(`${dst.replace(/\/+$/, '')}/${path}`);
    const own = user === undefined ? '' : ` && chown -h -- ${quoted(user)} ${at}`;
    const next = `ln -sfT -- ${quoted(link)} ${at}${own}`;
    if (command.length + next.length > LINKS_LIMIT) push();
    command = command === '' ? next : `${command} && ${next}`;
  }
  push();
  return steps;
};

const collector = async (state, platform, signal) => {
  const root =
    state.context === undefined || typeof state.context === 'string'
      ? platform.openPath && ofPath(state.context, platform)
      : await ofEntries(state.context);
  const isPath = typeof state.context === 'string';
  const ignoreText = async (name) => (isPath ? platform.readText?.(name) : root?.ignoreText(name));
  // The one beside a Dockerfile takes the place of the one of the context.
  let text;
  if (state.context !== undefined) {
    if (state.dockerfilePath) text = await ignoreText(`${state.dockerfilePath}${IGNORE_FILE}`);
    text ??= await root?.ignoreText(IGNORE_FILE);
  }
  const patterns = [...(text === undefined ? [] : lines(text)), ...state.ignore];
  const rules = patterns.length > 0 ? rulesOf(patterns) : undefined;
  const files = [];
  const leftOut = [];

  const add = ({ path, directory, ...rest }, above, more) => {
    signal?.throwIfAborted();
    const whole = path === '' ? above : above === '' ? path : `${above}/${path}`;
    files.push({ ...rest, ...more, path: whole, entryType: directory ? 'dir' : 'file', mode: rest.mode });
  };

  const open = async (source) => {
    if (typeof source !== 'string') return ofObject(source);
    if (!root)
      wrong(
        'sources',
        `names the path '${source}', and there are no files here: give a File, or setFileContext(files) first`,
      );
    if (state.context !== undefined && typeof state.context !== 'string' && isAbsolute(source))
      wrong('sources', `must be a path below the file context, not '${source}'`);
    return root.open(source);
  };

  /** One source of a copy: its name in the context, and links in it. */
  const collect = async (source, above, more) => {
    const found = await open(source);
    if (rules && found.inside && rules.ignores(found.inside, found.entries !== undefined))
      throw new InvalidRequestError({
        code: 'invalid_request',
        message: `the source '${found.inside}' is left out by ${IGNORE_FILE} or \`ignore\`: copy something else, or bring it back with '!${found.inside}'`,
      });
    const reference = `${above}/${segment(found.name)}`;
    if (!found.entries) {
      const mode = typeof found.mode === 'string' ? Number.parseInt(found.mode, 8) : found.mode;
      add({ ...found, path: '', mode }, reference, more);
      return { reference, links: [] };
    }
    add({ path: '', directory: true, mode: found.directoryMode }, reference, more);
    const links = [];
    for await (const entry of walk(found, rules, leftOut)) {
      if (entry.link !== undefined) links.push(entry);
      else add(entry, reference, more);
    }
    return { reference, links };
  };

  /** A `copy`, or one of `copy_items`: the wire's form, and links that are made after it. */
  const copied = async ({ sources, ...rest }, names) => {
    const references = [];
    const links = [];
    for (const [index, source] of sources.entries()) {
      const one = await collect(source, names(index), rest.force_upload ? { force: true } : {});
      references.push(one.reference);
      links.push(...linkSteps(one.links, rest));
    }
    return [{ sources: references, ...rest }, links];
  };

  const whole = async () => {
    const found = await root.open(typeof state.context === 'string' ? '.' : '');
    for await (const entry of walk({ ...found, inside: '' }, rules, leftOut)) {
      if (entry.link !== undefined)
        throw new InvalidRequestError({
          code: 'invalid_request',
          message: `'${entry.path}' is a symlink, and the context of a Dockerfile cannot hold one: name it in ${IGNORE_FILE} and make it with RUN ln -s`,
        });
      add(entry, '', {});
    }
  };
  return { files, leftOut, copied, whole };
};

/** Steps as they are on the wire, and the files that come with them, of which nothing is read yet. */
export const contextOf = async (state, platform, signal) => {
  const { files, leftOut, copied, whole } = await collector(state, platform, signal);
  const steps = [];
  if (state.dockerfile !== undefined) {
    if (state.context !== undefined) await whole();
    return { steps, files, leftOut };
  }
  for (const [index, { action, ...step }] of state.steps.entries()) {
    const place = `builder-context/step-${index}/src-`;
    if (action === 'copy') {
      const [body, links] = await copied(step, (source) => `${place}${source}`);
      steps.push({ action, ...body }, ...links);
    } else if (action === 'copy_items') {
      const items = [];
      const after = [];
      for (const [number, item] of step.items.entries()) {
        const many = item.sources.length > 1;
        const [body, links] = await copied(item, (source) => `${place}${number}${many ? `-${source}` : ''}`);
        items.push(body);
        after.push(...links);
      }
      steps.push({ action, items }, ...after);
    } else {
      steps.push({ action, ...step });
    }
  }
  return { steps, files, leftOut };
};

// ---- Digests --------------------------------------------------------------------------------------------------

/** Adds the digests of all files. */
export const hashed = async (files, { hasher }, signal) => {
  await each(
    files.filter(({ entryType }) => entryType === 'file'),
    async (file) => {
      signal?.throwIfAborted();
      file.sha256 = await digestOf(
        file,
        hasher,
        `the file '${file.path}' is larger than what can be hashed here`,
        signal,
      );
    },
  );
};

/** One entry as the wire describes it. */
const described = ({ path, entryType, mode, sha256, size, force }) => ({
  path,
  entry_type: entryType,
  ...(mode === undefined ? {} : { mode: octal(mode) }),
  ...(entryType === 'file' ? { sha256, size_bytes: size } : {}),
  ...(force && entryType === 'file' ? { force_upload: true } : {}),
});

// ---- Sending --------------------------------------------------------------------------------------------------

const changed = (file) =>
  new BuildError({ code: 'build_error', message: `the file '${file.path}' changed while it was sent: build again` });

const whole = async (file) => {
  const bytes = await file.read(0, file.size);
  if (bytes.length !== file.size) throw changed(file);
  return bytes;
};

/** Content of a file, which tells how far it got. */
const contentOf = async (file, told) => {
  if (file.size <= SMALL) return whole(file);
  // A page's own file is on the disk: the browser sends it from there.
  if (file.blob) return file.blob;
  return sourced(file.size, () => {
    let at = 0;
    told(0);
    return new ReadableStream(
      {
        async pull(controller) {
          if (at === file.size) {
            controller.close();
            return;
          }
          const end = Math.min(at + PIECE, file.size);
          const bytes = await file.read(at, end);
          if (bytes.length !== end - at) throw changed(file);
          at = end;
          told(at);
          controller.enqueue(bytes);
        },
      },
      { highWaterMark: 0 },
    );
  });
};

/** The files inside the body, for a server without blobs. */
const inlined = async (files, refusal) => {
  const size = files.reduce((sum, file) => sum + (file.size ?? 0), 0);
  if (size > INLINE_LIMIT) throw refusal;
  const list = [];
  for (const file of files) {
    const entry = { path: file.path, entry_type: file.entryType };
    if (file.entryType === 'file') entry.content_base64 = base64Of(await whole(file));
    if (file.mode !== undefined) entry.mode = octal(file.mode);
    list.push(entry);
  }
  return list;
};

/**
 * Sends what the server lacks, each content once, and gives the files as a body names them. `preflight` and `sendBlob` are the
 * requests.
 */
export const sent = async (files, { preflight, sendBlob, onProgress, signal }) => {
  if (files.length === 0) return [];
  let answer;
  try {
    answer = await preflight({ files: files.map(described) });
  } catch (error) {
    // PROTOCOL.md has it for lost connections too: a server that cannot be asked takes no build either.
    if (error.code === 'not_implemented') return inlined(files, error);
    throw error;
  }
  const bad = (what) => {
    throw new InvalidResponseError({ code: 'invalid_response', message: `preflightTemplateBlobs: ${what}` });
  };
  if (answer.files.length !== files.length)
    bad(`${files.length} entries were asked for, and ${answer.files.length} answered`);
  const missing = new Map();
  const named = files.map((file, index) => {
    const { path, blobId, missing: isMissing } = answer.files[index];
    if (path !== file.path) bad(`'${file.path}' was asked for, and '${path}' answered`);
    if (file.entryType === 'file') {
      if (blobId === undefined) bad(`'${path}' has no blob_id`);
      if (isMissing && !missing.has(blobId)) missing.set(blobId, file);
    }
    return {
      path,
      entry_type: file.entryType,
      ...(file.entryType === 'file' ? { blob_id: blobId } : {}),
      ...(file.mode === undefined ? {} : { mode: octal(file.mode) }),
    };
  });

  const blobs = [...missing];
  const done = new Map();
  const totalBytes = blobs.reduce((sum, [, { size }]) => sum + size, 0);
  let sentFiles = 0;
  const tell = (file) =>
    onProgress?.({
      path: file.path,
      sentBytes: [...done.values()].reduce((sum, bytes) => sum + bytes, 0),
      totalBytes,
      sentFiles,
      totalFiles: blobs.length,
    });
  await each(blobs, async ([blobId, file]) => {
    signal?.throwIfAborted();
    const content = await contentOf(file, (bytes) => {
      done.set(blobId, bytes);
      tell(file);
    });
    await sendBlob(blobId, content);
    done.set(blobId, file.size);
    sentFiles += 1;
    tell(file);
  });
  return named;
};

// ---- For people -----------------------------------------------------------------------------------------------

const BULKY = /^(\.git|\.hg|\.svn|\.venv|venv|node_modules|target|\.cache|__pycache__)$/i;
const SECRET = /^(\.env(\..*)?|\.envrc|id_(rsa|dsa|ecdsa|ed25519)|.*\.(pem|key|p12|pfx))$/i;
/** Of the largest files. */
const LARGEST = 10;

/** What a context holds, and what of it looks like a mistake. */
export const inventory = (files, leftOut) => {
  const shown = files.map(({ path, entryType, mode, size, sha256 }) => ({
    path,
    entryType,
    ...(mode === undefined ? {} : { mode: octal(mode) }),
    ...(entryType === 'file' ? { sizeBytes: size, sha256 } : {}),
  }));
  const plain = shown.filter(({ entryType }) => entryType === 'file');
  const warnings = shown.flatMap(({ path, entryType }) => {
    const name = path.split('/').at(-1);
    if (entryType === 'dir' && BULKY.test(name))
      return [
        {
          path,
          reason: 'likely_accidental_include',
          message: `'${name}' is mostly left out: name it in ${IGNORE_FILE}`,
        },
      ];
    if (entryType === 'file' && SECRET.test(name))
      return [
        { path, reason: 'likely_secret_file', message: `'${name}' looks like a secret: use addBuildSecret instead` },
      ];
    return [];
  });
  return {
    totalBytes: plain.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    fileCount: plain.length,
    directoryCount: shown.length - plain.length,
    largestFiles: [...plain]
      .sort((a, b) => b.sizeBytes - a.sizeBytes)
      .slice(0, LARGEST)
      .map(({ path, sizeBytes }) => ({ path, sizeBytes })),
    warnings,
    ignored: leftOut,
    entries: shown,
  };
};
