// The public classes, with what the module alone cannot do: files of this computer, keys, mounts; and clients.

import { addNames } from './by-name.js';
import { onHandle, statics } from './calls.js';
import { codeMethods } from './code.js';
import { BatchWriteError, NullspaceError } from './errors.js';
import { classes, define, recordOf } from './handle.js';
import { downloads, openUpload, sshIdentity } from './runtime.js';
import { checkSshAnswer } from './ssh-answer.js';
import { disposes } from './streams.js';
import { addTemplates } from './template-build.js';
import { startSpan } from './tracing.js';

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

addNames();

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

for (const [key, method] of Object.entries(codeMethods(classes.CodeInterpreter.prototype)))
  define(classes.CodeInterpreter.prototype, key, method);
delete classes.CodeInterpreter.prototype.execute;
for (const key of ['runCode', 'installPackages'])
  define(classes.Machine.prototype, key, async function (what, options) {
    return this.codeInterpreter[key](what, options);
  });

// ---- SSH ------------------------------------------------------------------------------------------------------

const askSshAccess = onHandle('Machine', 'sshAccess');
define(classes.Machine.prototype, 'createSshAccess', async function (options) {
  const record = recordOf(this, 'Machine');
  if (options !== undefined && (options === null || typeof options !== 'object')) return askSshAccess(record, options);
  const { identityFile, keyDir, ...asked } = options ?? {};
  // Nothing to do with files: the key is the caller's own, and so is what becomes of the certificate.
  const isPlain = asked.publicKey !== undefined && identityFile === undefined && keyDir === undefined;
  const identity = isPlain ? undefined : await sshIdentity({ publicKey: asked.publicKey, identityFile, keyDir });
  // Without files the options go on as they are: what is wrong with them is said by the check of all options.
  if (!identity) {
    const access = checkSshAnswer(await askSshAccess(record, options));
    return { ...access, command: `ssh -p ${access.port} ${access.user}@${access.host}` };
  }
  const access = checkSshAnswer(await askSshAccess(record, { ...asked, publicKey: identity.publicKey }));
  return { ...access, ...(await identity.keep(this.id, access)) };
});

// ---- Templates ------------------------------------------------------------------------------------------------

addTemplates();

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

// ---- Clients --------------------------------------------------------------------------------------------------

/** Holds the options of one tenant: nothing is global. */
export class Nullspace {
  constructor(options = {}) {
    if (options === null || typeof options !== 'object')
      throw new TypeError('new Nullspace(options) takes an object such as { apiKey, baseUrl }');
    const { tracer, ...client } = options;
    if (tracer !== undefined) {
      if (typeof tracer?.startSpan !== 'function')
        throw new TypeError("`tracer` must be a tracer of OpenTelemetry, such as trace.getTracer('app')");
      client.startSpan = startSpan(tracer);
    }
    for (const [name, calls] of statics) {
      if (calls.size === 0) continue;
      // The same prototype, so `instanceof` holds for either.
      // biome-ignore lint/complexity/useArrowFunction: what stands right of `instanceof` and `new` is a function
      const bound = function () {
        throw new TypeError(`${name} has no public constructor`);
      };
      Object.defineProperties(bound, { name: { value: name }, prototype: { value: classes[name].prototype } });
      for (const [key, run] of calls) define(bound, key, (...args) => run(args, client));
      Object.defineProperty(this, name, { value: bound, enumerable: true });
    }
    // Keys stay out of logs.
    Object.defineProperty(this, Symbol.for('nodejs.util.inspect.custom'), {
      value: () => `Nullspace { baseUrl: ${JSON.stringify(client.baseUrl)} }`,
    });
  }
}
Object.defineProperty(Nullspace, 'name', { value: 'Nullspace', configurable: true });

/** Makers of egress policies; plain objects of the same shape work as well. */
export const NetworkEgressPolicy = Object.freeze({
  allowAll: () => ({ mode: 'allow_all' }),
  denyAll: () => ({ mode: 'deny_all' }),
  custom: (policy = {}) => ({ ...policy, mode: 'custom' }),
});
