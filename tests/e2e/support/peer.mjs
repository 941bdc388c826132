// A computer beside this one: a network namespace with servers, joined by a cable to the one that the test runs in.
// Both are gone when their processes are.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

import { end, start } from '../../../scripts/lib/cleanup.mjs';

/** Addresses of the peer; 198.18.0.0/15 is for tests of network devices. */
export const PEER = '198.18.0.2';
export const PEER_2 = '198.18.1.2';
/** This side of the cable: the engine's own address. */
export const OWN = '198.18.0.1';

/** Why there can be no peer; `undefined` when there can. */
export function missingForPeer() {
  if (process.env.NULLSPACE_TEST_NETNS !== '1') return 'a network namespace of its own (run as root)';
  try {
    execFileSync('ip', ['-V'], { stdio: 'ignore' });
    execFileSync('nsenter', ['--version'], { stdio: 'ignore' });
  } catch {
    return 'iproute2 and util-linux (apt-get install iproute2 util-linux)';
  }
  return undefined;
}

/** Starts the peer: HTTP on port 80 of its addresses, answering `peer`; a flood on port 9. `also`: more addresses;
 * `words`: servers on 443, 5432 and 2222 that answer anything. */
export async function startPeer({ also = [], words = false } = {}) {
  const server = fileURLToPath(new URL('peer-server.mjs', import.meta.url));
  const child = start('unshare', ['--net', process.execPath, server, ...(words ? ['words'] : [])]);
  child.stdout.setEncoding('utf8');
  const next = async (word) => {
    for (let text = ''; !text.includes(word); ) [text] = await once(child.stdout, 'data');
  };
  await next('started');
  const here = (...args) => execFileSync('ip', args);
  const there = (...args) => execFileSync('nsenter', ['--target', String(child.pid), '--net', 'ip', ...args]);
  here('link', 'add', 'cable0', 'type', 'veth', 'peer', 'name', 'cable1', 'netns', String(child.pid));
  for (const subnet of [0, 1]) {
    here('address', 'add', `198.18.${subnet}.1/24`, 'dev', 'cable0');
    there('address', 'add', `198.18.${subnet}.2/24`, 'dev', 'cable1');
  }
  for (const address of also) there('address', 'add', address, 'dev', 'cable1');
  here('link', 'set', 'cable0', 'up');
  there('link', 'set', 'cable1', 'up');
  child.stdin?.end();
  return {
    /** What a command begins with that is to run there. */
    enter: ['nsenter', '--target', String(child.pid), '--net'],
    async stop() {
      await end(child);
    },
  };
}
