// The code interpreter: cells whose events are heard as they come, and what they leave.

import { pause } from './abort.js';
import { TimeoutError } from './errors.js';
import { Execution } from './execution.js';
import { decodersPart } from './parts.js';
import { shapeEvent } from './runtime.js';
import { wrong } from './checks.js';
import { quoted } from './shell.js';

/** How the events of a cell are checked, and who hears them: decoder, listener. */
const EVENTS = {
  stdout: ['CodeOutput', 'onStdout'],
  stderr: ['CodeOutput', 'onStderr'],
  result: ['CodeResult', 'onResult'],
  artifact: ['CodeArtifact', 'onArtifact'],
  error: ['CodeError', 'onError'],
};

/** Lines of an event stream, each as it comes whole. */
export async function* linesOf(stream) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  // Pieces of a line that has not come whole: joined once, since a picture is one long line.
  let held = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const parts = (done ? decoder.decode() : decoder.decode(value, { stream: true })).split('\n');
      for (const part of parts.slice(0, -1)) {
        held.push(part);
        yield held.join('').replace(/\r$/, '');
        held = [];
      }
      held.push(parts.at(-1));
      if (done) {
        yield held.join('');
        return;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

const add = (execution, type, value) => {
  if (type === 'stdout' || type === 'stderr') execution.logs[type].push(value.text);
  else if (type === 'result') execution.results.push(value);
  else if (type === 'artifact') execution.artifacts.push(value);
  else execution.error = value;
};

/** Hears a cell to its end. An error of a listener, like an abort, ends the answer, and with it the cell. */
const hear = async (stream, listeners, signal) => {
  const execution = new Execution();
  await decodersPart();
  for await (const line of linesOf(signal ? stream.pipeThrough(new TransformStream(), { signal }) : stream)) {
    if (!line.startsWith('data: ')) continue;
    const event = shapeEvent('', line.slice(6));
    if (event.type === 'number_of_executions') execution.executionCount = event.execution_count;
    const [decoder, listener] = EVENTS[event.type] ?? [];
    if (!decoder) continue; // of a newer server
    const value = shapeEvent(decoder, event.type === 'artifact' ? (event.artifact ?? event) : event);
    add(execution, event.type, value);
    await listeners[listener]?.(value);
  }
  return execution;
};

const withExecution = (run) => (run.execution ? { ...run, execution: new Execution(run.execution) } : run);

const seconds = (option, value, least) =>
  typeof value === 'number' && value >= least && value < 1e9
    ? value
    : wrong(option, `must be a number of seconds, at least ${least}`);

/** What `CodeInterpreter` does beside its requests, which are `requests`. */
export const codeMethods = (requests) => {
  const { execute, createRun, getRun, cancelRun, listRuns } = requests;
  const one = (request) =>
    async function (about, options) {
      return withExecution(await request.call(this, about, options));
    };
  return {
    async runCode(code, options) {
      const { onStdout, onStderr, onResult, onArtifact, onError, signal } = Object(options);
      const stream = await execute.call(this, code, options);
      return hear(stream, { onStdout, onStderr, onResult, onArtifact, onError }, signal);
    },
    async installPackages(packages, options) {
      const all = typeof packages === 'string' ? [packages] : packages;
      if (
        !Array.isArray(all) ||
        all.length === 0 ||
        all.some((name) => typeof name !== 'string' || !name.trim() || /[\n\r\0]/.test(name))
      )
        wrong('packages', "must be names such as ['numpy', 'pandas>=2']");
      return this.runCode(`!pip install ${all.map(quoted).join(' ')}`, options);
    },
    createRun: one(createRun),
    getRun: one(getRun),
    cancelRun: one(cancelRun),
    async listRuns(options) {
      const page = await listRuns.call(this, options);
      return { ...page, items: page.items.map(withExecution) };
    },
    async waitForRun(run, options) {
      const { timeout = 300, pollInterval = 1, ...rest } = options ?? {};
      const end = Date.now() + seconds('timeout', timeout, 0) * 1000;
      const step = seconds('pollInterval', pollInterval, 0.01) * 1000;
      for (;;) {
        const seen = await this.getRun(run, rest);
        if (seen.status !== 'queued' && seen.status !== 'running') return seen;
        const left = end - Date.now();
        if (left <= 0)
          throw new TimeoutError({
            code: 'timeout',
            message: `run ${seen.id} was still ${seen.status} after ${timeout} s; it goes on: wait again, or cancel it`,
          });
        await pause(Math.min(step, left), rest.signal);
      }
    },
  };
};
