// `nullspace doctor`: whether machines can be used from here, and what to do when not.

import { execFileSync } from 'node:child_process';

import { Machine } from 'nullspace';

import { EXIT } from './ending.mjs';
import { findEngine } from './engine.mjs';
import { runningEngine, stateFolder } from './running.mjs';
import { fields, show } from './output.mjs';
import { addressFrom, keyFrom } from './settings.mjs';

const versionOf = (file) => {
  try {
    return execFileSync(file, ['--version'], { encoding: 'utf8', timeout: 5000 }).trim().split(' ').at(-1);
  } catch {
    return undefined;
  }
};

/** What to do next. */
const advice = ({ error, engine, key, address }) => {
  if (!error) return undefined;
  if (error.name === 'AuthError')
    return key
      ? `the key of ${key} is not that of ${address}: put the one that the engine was started with (--api-key, or what it printed) into NULLSPACE_API_KEY`
      : 'start an engine with `nullspace engine --background`, which needs no key, or put that of another one into NULLSPACE_API_KEY';
  if (error.name !== 'TransportError') return error.suggestedAction;
  if (runningEngine(stateFolder()))
    return `an engine of yours runs, but ${address} was asked: take the address and the key away from where they come from, and it is found`;
  return engine.file
    ? 'start an engine with `nullspace engine --background`: programs of yours find it without settings'
    : 'put the address of an engine into NULLSPACE_API_URL; one of your own runs on Linux: `nullspace engine` says how to get it';
};

export const doctor = {
  async run() {
    const engine = findEngine();
    let [error, address] = [undefined, undefined];
    try {
      const onRequest = ({ url }) => {
        address = url.replace(/\/v1\/machines.*$/, '');
      };
      await Machine.list({ limit: 1, requestTimeout: 10, onRequest });
    } catch (thrown) {
      error = thrown;
      process.exitCode = error.name === 'AuthError' ? EXIT.auth : EXIT.error;
    }
    const found = {
      node: process.versions.node,
      engine: engine.file,
      engineFrom: engine.from,
      engineVersion: engine.file && versionOf(engine.file),
      runningEngine: runningEngine(stateFolder())?.base_url,
      address,
      addressFrom: address && addressFrom(address),
      keyFrom: keyFrom(),
      api: error ? undefined : 'answers, and takes the key',
      problem: error?.message,
      advice: advice({ error, engine, key: keyFrom(), address }),
    };
    show(found, () =>
      fields({
        'Node.js': found.node,
        engine: engine.file
          ? `${engine.file} ${found.engineVersion ?? '(does not run)'}, from ${engine.from}; \`nullspace engine doctor\` checks this computer`
          : 'none found here; one elsewhere needs none',
        'runs here': found.runningEngine,
        address: address ? `${address}, from ${found.addressFrom}` : 'not asked',
        key: found.keyFrom ? `from ${found.keyFrom}` : 'none',
        API: found.api ?? `does not work: ${found.problem}`,
        'to do': found.advice,
      }),
    );
  },
};
