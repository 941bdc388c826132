// The public classes, with what the module alone cannot do: files of this computer, keys, mounts.

import { addStatic, onHandle } from './calls.js';
import { BatchWriteError, NullspaceError } from './errors.js';
import { classes, define, recordOf } from './handle.js';
import { codePart, namesPart, sshPart } from './parts.js';
import { downloads, openUpload } from './runtime.js';
import { disposes } from './streams.js';

export { install } from './calls.js';

// Quietly: an error of the block is worth more than one of the cleaning up, and the lease ends the machine anyway.
disposes('Machine', async function () {
  await this.kill().catch(() => {});
});

for (const name of ['Machine', 'TemplateWarmPool', 'Volume'])
  define(classes[name].prototype, 'close', async function () {
    recordOf(this, name).closed = true;
  });
define(classes.MachinePage.prototype, 'close', async function () {
  Object.assign(recordOf(this, 'MachinePage'), { hasNext: false, nextToken: undefined });
});

// ---- Names ----------------------------------------------------------------------------------------------------

addStatic('Machine', 'getOrCreate', async (args, client) => (await namesPart()).getOrCreate(args, client));

const { createSnapshot } = classes.Machine.prototype;
define(classes.Machine.prototype, 'createSnapshot', async function (options) {
  const snapshot = await createSnapshot.call(this, options);
  if (options?.name !== undefined || options?.metadata !== undefined)
    await (await namesPart()).checkLabels(snapshot, options, recordOf(this, 'Machine').client);
  return snapshot;
});

// ---- Files ----------------------------------------------------------------------------------------------------

const sendUpload = onHandle('Files', 'sendUpload');
const sendResumed = onHandle('Files', 'sendResumed');
define(classes.Files.prototype, 'upload', async function (given, path, options) {
  const record = recordOf(this, 'Files');
  return sendUpload(record, await openUpload(given, options), path, options);
});
define(classes.Files.prototype, 'resumeUpload', async function (uploadId, given, options) {
  const record = recordOf(this, 'Files');
  return sendResumed(record, uploadId, await openUpload(given, options), options);
});

for (const key of ['download', 'downloadFile', 'downloadDir'])
  define(classes.Files.prototype, key, async function (...args) {
    recordOf(this, 'Files');
    return downloads(key)(this, ...args);
  });

/** Streams of Node and other async iterables as the stream that the transports read. */
const asStream = (content) => {
  if (typeof content?.[Symbol.asyncIterator] !== 'function' || typeof content.getReader === 'function') return content;
  const steps = content[Symbol.asyncIterator]();
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await steps.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await steps.return?.();
      },
    },
    { highWaterMark: 0 },
  );
};
const { archive, read, write, writeFiles } = classes.Files.prototype;
define(classes.Files.prototype, 'write', async function (path, content, options) {
  return write.call(this, path, asStream(content), options);
});

/** Files of a volume, which takes no batch: one after the other, whatever became of those before. */
const writeEach = async (files, list, options) => {
  const [infos, successes, failures] = [[], [], []];
  for (const { path, content, mode } of list) {
    try {
      infos.push(await files.write(path, content, mode === undefined ? options : { ...options, mode }));
      successes.push(path);
    } catch (error) {
      if (!(error instanceof NullspaceError)) throw error;
      failures.push({ path, error: error.message });
    }
  }
  if (failures.length === 0) return infos;
  const [{ path, error }] = failures;
  throw new BatchWriteError({
    code: 'batch_write_partial_failure',
    message: `${failures.length} of ${list.length} files were not written; the first: ${path}: ${error}`,
    details: { successes, failures },
  });
};
define(classes.Files.prototype, 'writeFiles', async function (list, options) {
  // Of a volume it only checks.
  return (await writeFiles.call(this, list, options)) ?? writeEach(this, list, options);
});

define(classes.Files.prototype, 'read', async function (path, options) {
  const content = await read.call(this, path, options);
  // A signal holds for the whole of the bytes, not only until they begin to come.
  return options?.format === 'stream' ? abortable(content, options) : content;
});
define(classes.Files.prototype, 'archive', async function (path, options) {
  return abortable(await archive.call(this, path, options), options);
});
const abortable = (stream, { signal } = {}) =>
  signal ? stream.pipeThrough(new TransformStream(), { signal }) : stream;

// ---- Code -----------------------------------------------------------------------------------------------------

const { execute, createRun, getRun, cancelRun, listRuns } = classes.CodeInterpreter.prototype;
const codeRequests = { execute, createRun, getRun, cancelRun, listRuns };
for (const key of ['runCode', 'installPackages', 'createRun', 'getRun', 'cancelRun', 'listRuns', 'waitForRun'])
  define(classes.CodeInterpreter.prototype, key, async function (...args) {
    const { codeMethods } = await codePart();
    return codeMethods(codeRequests)[key].apply(this, args);
  });
delete classes.CodeInterpreter.prototype.execute;
for (const key of ['runCode', 'installPackages'])
  define(classes.Machine.prototype, key, async function (what, options) {
    return this.codeInterpreter[key](what, options);
  });

// ---- SSH ------------------------------------------------------------------------------------------------------

define(classes.Machine.prototype, 'createSshAccess', async function (options) {
  const record = recordOf(this, 'Machine');
  return (await sshPart()).createSshAccess(record, options);
});

// ---- Volumes --------------------------------------------------------------------------------------------------

// No call: it describes a mount for `Machine.create` and `machine.volumes.attach`.
define(classes.Volume.prototype, 'mount', function (mountPath, { readOnly, subpath } = {}) {
  return {
    ref: this.id,
    mountPath,
    ...(readOnly === undefined ? {} : { readOnly }),
    ...(subpath === undefined ? {} : { subpath }),
  };
});

// ---- Networks -------------------------------------------------------------------------------------------------

/** Makers of egress policies; plain objects of the same shape work as well. */
export const NetworkEgressPolicy = Object.freeze({
  allowAll: () => ({ mode: 'allow_all' }),
  denyAll: () => ({ mode: 'deny_all' }),
  custom: (policy = {}) => ({ ...policy, mode: 'custom' }),
});
