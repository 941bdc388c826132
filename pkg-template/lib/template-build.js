// Builds of templates: what leads up to one, its log over lost connections, its end. See template.js for what is built.

import { pause, unlessAborted } from './abort.js';
import { connectionOf } from './calls.js';
import { linesOf } from './code.js';
import { BuildError, TransportError } from './errors.js';
import { handle, recordOf } from './handle.js';
import { decodersPart } from './parts.js';
import { shapeEvent, templateContext } from './runtime.js';
import { optionsOf, functionOf, wrong } from './checks.js';

/**
 * What template.js and templates.js have, which is given and not imported: esbuild puts what is imported by a part and exported to pages
 * into what every page loads, also when it is used by none.
 */
let own;
export const give = (given) => {
  own = given;
};

/** Between two tries to hear a build, milliseconds: the first, and the most. */
const FIRST_DELAY_MS = 250;
const LAST_DELAY_MS = 5000;
/** How long a build is not heard before that is an error, milliseconds. It goes on all the same. */
const SILENCE_MS = 60_000;
/** How long the end of a call waits for the end of its build, milliseconds. */
const CANCEL_MS = 3000;
/** Lines of the log in an error. */
const TAIL = 20;

/** A signal that never says anything: what must not end with the call gets it. */
const never = () => new AbortController().signal;

// ---- What leads up to a build ---------------------------------------------------------------------------------

/** Checks all that was given before anything is read or sent, and gives what the parts of a build need. */
const asked = async (builder, ref, options, client, isNamed) => {
  const state = own.stateOf(builder);
  if (isNamed && ref === undefined) wrong('ref', "is missing: a name such as 'app' or 'team/app:stable'");
  const connection = connectionOf(options);
  const secrets = own.secretsOf(options?.buildSecrets, state.secrets);
  // The kind of definition is all that the check needs of it.
  const kind = state.dockerfile === undefined ? {} : { dockerfile: '' };
  const { dockerfile: _, ...settings } = JSON.parse(await own.hidden.bodyOf([kind, ref, options], client));
  return {
    state: { ...state, secrets },
    settings,
    connection,
    client,
    signal: options?.signal ?? client?.signal,
    onProgress: options?.onUploadProgress,
    onLog: options?.onLog,
  };
};

/** The body with the files as preflight gets them: nothing was sent. */
const planned = async ({ state, settings, signal }) => {
  const { contextOf, hashed, ...tools } = await templateContext();
  const { steps, files, leftOut } = await contextOf(state, tools.platform, signal);
  await hashed(files, tools.platform, signal);
  return { body: (list) => ({ ...own.definitionOf(state, steps, list), ...settings }), files, leftOut, tools };
};

/** The body whose files the server has. */
const prepared = async (asked) => {
  const { body, files, tools } = await planned(asked);
  const { client, connection, signal, onProgress } = asked;
  const options = { ...connection, ...(signal ? { signal } : {}) };
  const list = await tools.sent(files, {
    preflight: (what) => own.hidden.preflight([what, options], client),
    sendBlob: (id, content) => own.hidden.sendBlob([id, content, options], client),
    onProgress,
    signal,
  });
  return body(list);
};

/** Begins a build. One whose caller has gone by the time the server answers is ended. */
const started = async (asked) => {
  const body = await prepared(asked);
  const { client, connection, signal } = asked;
  signal?.throwIfAborted();
  const starting = own.hidden.startBuild([body, { ...connection, signal: never() }], client);
  try {
    const build = await unlessAborted(starting, signal);
    // For the errors of this process: a server need not say what its steps were.
    recordOf(build, 'TemplateBuild').steps = body.steps;
    return build;
  } catch (error) {
    if (!signal?.aborted) throw error;
    await lingered(starting.then(cancelled));
    throw error;
  }
};

/** Waits a little for the end of what nobody waits for any more. */
const lingered = async (promise) => {
  const over = new AbortController();
  await Promise.race([promise.catch(() => {}), pause(CANCEL_MS, over.signal).catch(() => {})]);
  over.abort();
};
const cancelled = (build) =>
  own.ofBuild.cancel(recordOf(build, 'TemplateBuild'), { reason: 'the caller has gone', requestTimeout: 30 });

// ---- Its log --------------------------------------------------------------------------------------------------

const ENDS = ['end', 'error', 'cancelled'];
const OVER = ['ready', 'error', 'cancelled'];

/** Whether the same may work in a moment: no answer, or one of something in between. */
const isLost = (error) => error instanceof TransportError || (error?.status >= 500 && error.status !== 501);

/**
 * The log from an offset on, each entry once. A connection that ends before the build does is made again where it ended; a
 * server that streams no logs is asked again and again.
 */
export async function* entriesOf(record, { offset = 0, follow = true, signal, requestTimeout }) {
  const options = { ...(signal ? { signal } : {}), ...(requestTimeout === undefined ? {} : { requestTimeout }) };
  await decodersPart();
  let next = offset;
  let streams = true;
  let heard = Date.now();
  let delay = FIRST_DELAY_MS;
  let lost;
  const isNew = (entry) => {
    if (entry.offset < next) return false;
    next = entry.offset + 1;
    heard = Date.now();
    delay = FIRST_DELAY_MS;
    return true;
  };
  for (;;) {
    if (streams) {
      try {
        const stream = await own.ofBuild.openLogs(record, { ...options, follow, offset: next });
        heard = Date.now();
        for await (const line of linesOf(signal ? stream.pipeThrough(new TransformStream(), { signal }) : stream)) {
          if (!line.startsWith('data:')) continue;
          const entry = shapeEvent('TemplateBuildLogEntry', shapeEvent('', line.slice(5)));
          if (!isNew(entry)) continue;
          yield entry;
          if (ENDS.includes(entry.kind)) return;
        }
        if (!follow) return;
      } catch (error) {
        signal?.throwIfAborted();
        if (error?.code === 'not_implemented') streams = false;
        else if (!isLost(error)) throw error;
        else lost = error;
      }
    }
    // The stream may have ended because the build has, or a proxy may have cut it.
    try {
      const { build, entries } = await own.ofBuild.status(record, { ...options, offset: next });
      heard = Date.now();
      for (const entry of entries) {
        if (!isNew(entry)) continue;
        yield entry;
        if (ENDS.includes(entry.kind)) return;
      }
      if (!follow || OVER.includes(build.status)) return;
    } catch (error) {
      signal?.throwIfAborted();
      if (!isLost(error)) throw error;
      lost = error;
    }
    if (lost && Date.now() - heard > SILENCE_MS)
      throw new TransportError({
        code: 'transport_error',
        message: `nothing was heard of the build ${record.id} for ${SILENCE_MS / 1000} s: ${lost.message}`,
        suggestedAction: `the build may go on: TemplateBuild.connect('${record.id}')`,
        retryable: true,
        cause: lost,
      });
    await pause(delay, signal);
    delay = Math.min(delay * 2, LAST_DELAY_MS);
  }
}

// ---- Its end --------------------------------------------------------------------------------------------------

const sentence = (text) => text.replace(/\.$/, '');

/** What a failed build fails its call with. `detail` is the wire's, `log` the last lines. */
const failure = (record, name, { detail, message, log }) => {
  const { stepIndex, details, phase, retryable, suggestedAction, requestId, code = 'build_error' } = detail ?? {};
  const step = stepIndex === undefined ? undefined : record.steps?.[stepIndex];
  const text = (value) => (typeof value === 'string' ? value : undefined);
  // What the caller wrote comes first: a server may have a name of its own for it.
  const command = step?.command ?? text(details?.command);
  const exitCode = Number.isInteger(details?.exit_code) ? details.exit_code : undefined;
  const action = step?.action ?? text(details?.action);
  const said = sentence(detail?.message ?? message);
  // Servers say some of this themselves.
  const place =
    stepIndex === undefined || /\bstep\b/i.test(said)
      ? ''
      : ` in step ${stepIndex + 1}${action === undefined ? '' : ` (${action})`}`;
  const what =
    command === undefined || exitCode === undefined || said.includes(exitCode)
      ? ''
      : `: \`${command}\` ended with ${exitCode}`;
  return new BuildError({
    code,
    message: `the build of ${name} failed${place}${what}: ${said}`,
    buildId: record.id,
    templateId: record.templateId,
    phase,
    stepIndex,
    step: action,
    command,
    exitCode,
    log,
    retryable,
    suggestedAction,
    requestId,
    details,
  });
};

/** Hears a build to its end: the template, or why there is none. */
const ended = async (record, { onLog, signal, requestTimeout }) => {
  const log = [];
  let last;
  for await (const entry of entriesOf(record, { signal, requestTimeout })) {
    log.push(entry.message);
    if (log.length > TAIL) log.shift();
    last = entry;
    await onLog?.(entry);
  }
  if (last?.kind === 'end' && last.result) return last.result;
  if (last?.kind === 'error' && last.errorDetail)
    throw failure(record, record.name, { detail: last.errorDetail, message: last.message, log });
  // The log says less than there is to know, or is gone.
  const more = { ...(signal ? { signal } : {}), ...(requestTimeout === undefined ? {} : { requestTimeout }) };
  const { build } = await own.ofBuild.status(record, { ...more, offset: last === undefined ? 0 : last.offset + 1 });
  if (build.status === 'ready') return own.getTemplate([build.canonicalRef ?? build.templateId, more], record.client);
  if (build.status === 'cancelled' || last?.kind === 'cancelled')
    throw new BuildError({
      code: 'build_cancelled',
      message: `the build of ${build.name} was cancelled${build.cancellationReason ? `: ${build.cancellationReason}` : ''}`,
      buildId: record.id,
      templateId: record.templateId,
      log,
    });
  throw failure(record, build.name, {
    detail: last?.errorDetail ?? build.errorDetail,
    message: build.error ?? last?.message ?? `it is ${build.status}`,
    log,
  });
};

// ---- The calls ------------------------------------------------------------------------------------------------

export const build = async ([builder, ref, options], client) => {
  const all = await asked(builder, ref, options, client, true);
  const begun = await started(all);
  try {
    return await ended(recordOf(begun, 'TemplateBuild'), all);
  } catch (error) {
    // Who gives up and whose hook throws wants no template; who lost the connection may take the build up again.
    if (!(error instanceof BuildError) && !isLost(error)) await lingered(cancelled(begun));
    throw error;
  }
};

export const buildInBackground = async ([builder, ref, options], client) => {
  const all = await asked(builder, ref, options, client, true);
  if (all.onLog) wrong('onLog', 'is of `Template.build`: give it to `wait`, or walk along `logs()`');
  return started(all);
};

const asking =
  (key) =>
  async ([builder, ref, options], client) => {
    const all = await asked(builder, ref, options, client, false);
    const body = await prepared(all);
    return own.hidden[key]([body, { ...all.connection, ...(all.signal ? { signal: all.signal } : {}) }], client);
  };
export const validate = asking('askValidate');
export const plan = asking('askPlan');

export const inspectBuildContext = async ([builder, ref, options], client) => {
  const all = await asked(builder, ref, options, client, false);
  const { body, files, leftOut, tools } = await planned(all);
  const context = tools.inventory(files, leftOut);
  const list = context.entries.map(({ path, entryType, mode }) => ({
    path,
    entry_type: entryType,
    ...(mode ? { mode } : {}),
  }));
  return { request: own.withoutSecrets(body(list)), context };
};

/** Waits for a build. */
export const wait = (record, options) => {
  const { onLog, signal, requestTimeout } = optionsOf(options, ['onLog', 'signal', 'requestTimeout']);
  return ended(record, { onLog: functionOf('onLog', onLog), signal, requestTimeout });
};

/** Builds once more, with what no server keeps. */
export const retry = async (record, options) => {
  const { baseImageAuth, registryAuth, buildSecrets } = Object(options);
  const secret = {};
  if (baseImageAuth !== undefined) secret.baseImageAuth = own.authOf('baseImageAuth', baseImageAuth);
  if (registryAuth !== undefined) {
    if (!Array.isArray(registryAuth))
      wrong(
        'registryAuth',
        "must be an array such as [{ registry: 'registry.example', username: 'me', password: token }]",
      );
    secret.registryAuth = registryAuth.map((one, index) => {
      const { registry, ...auth } = Object(one);
      const place = `registryAuth[${index}]`;
      if (typeof registry !== 'string' || registry.trim() === '')
        wrong(`${place}.registry`, "must be the name of a registry, such as 'registry.example'");
      return { registry, auth: own.authOf(place, auth) };
    });
  }
  if (buildSecrets !== undefined) secret.buildSecrets = own.secretsOf(buildSecrets);
  const answer = await own.ofBuild.askRetry(record, options === undefined ? options : { ...options, ...secret });
  const again = handle('TemplateBuild', answer, record.client);
  recordOf(again, 'TemplateBuild').steps = record.steps;
  return again;
};
