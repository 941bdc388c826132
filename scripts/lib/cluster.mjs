// A cluster for tests: gateways and nodes on loopback, over a PostgreSQL of their own.

import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { startPostgres } from './postgres.mjs';
import { startProcess } from './process.mjs';

const GATEWAYS = 2;
/** Silence is no news on a busy computer. */
const PATIENT = ['--unreachable-after', '60', '--lost-after', '120'];
/** Options of `serve` that are the gateway's here: it is whom clients reach. Nodes have those of the second list, too. */
const OF_GATEWAYS = ['--allow-host', '--allow-origin', '--preview-domain'];
const OF_BOTH = ['--allow-origin'];
/** Nodes say that they are there every two seconds, and gateways look every second. */
const READY_MS = 60_000;

/**
 * Starts a cluster and waits until all nodes are ready. What it gives is the process of the first gateway, with the logs of all,
 * and the end of all of them.
 *
 * @param {object} options
 * @param {string} options.binary the program
 * @param {number} options.nodes
 * @param {string} options.directory of all state; one that was used is the same cluster again
 * @param {string} options.key of the user
 * @param {string[]} options.args more flags of `serve`
 * @param {Record<string, string>} options.env its whole environment, beside PATH
 */
export async function startCluster({ binary, nodes, directory, key, args, env }) {
  const database = await startPostgres(path.join(directory, 'postgres'));
  const secrets = {
    NULLSPACE_JOIN_TOKEN: randomBytes(16).toString('hex'),
    NULLSPACE_DATABASE_URL: database.url,
    NULLSPACE_API_KEY: key,
  };
  const run = (...words) => promisify(execFile)(binary, words, { env: { ...env, ...secrets } });
  await run('gateway', 'keys', 'add', '--from-env', createHash('sha256').update(key).digest('hex').slice(0, 16));

  const { ofGateways, ofNodes } = split(args);
  const gateways = await Promise.all(
    Array.from({ length: GATEWAYS }, () =>
      startProcess({
        what: 'a gateway',
        command: [binary, 'gateway', '--listen', '127.0.0.1:0', '--end-with-stdin', ...PATIENT, ...ofGateways],
        ready: /^NULLSPACE_API_URL=(\S+)$/m,
        env: { ...env, ...secrets },
      }),
    ),
  );
  const urls = gateways.map((gateway) => gateway.said[1]).join(',');
  const startNode = async (number) => {
    const address = `127.0.0.1:${await freePort()}`;
    return startProcess({
      what: `node ${number}`,
      command: [
        ...[binary, 'serve', '--listen', address, '--advertise', `http://${address}`, '--join', urls],
        ...['--node-name', `node-${number}`, '--state', path.join(directory, `node-${number}`)],
        ...['--end-with-stdin', ...ofNodes],
      ],
      ready: /^nullspace-engine: node \S+ serves gateways/m,
      env: { ...env, NULLSPACE_JOIN_TOKEN: secrets.NULLSPACE_JOIN_TOKEN },
    });
  };
  const members = await Promise.all(Array.from({ length: nodes }, (_, index) => startNode(index + 1)));
  const deadline = Date.now() + READY_MS;
  for (const gateway of gateways) {
    for (;;) {
      const found = await fetch(`${gateway.said[1]}/readyz`).then((answer) => answer.json());
      if (found.nodes >= nodes) break;
      if (Date.now() > deadline) throw new Error(`the nodes are not ready: ${JSON.stringify(found)}\n${gateway.log()}`);
      await sleep(100);
    }
  }

  const all = [...gateways, ...members];
  const joined = (what) => () => all.map((process) => process[what]()).join('');
  const [first] = gateways;
  return {
    said: first.said,
    pid: first.pid,
    log: joined('log'),
    stdout: joined('stdout'),
    ended: first.ended,
    signal: first.signal,
    /** SIGTERM to all. Resolves with how the first that ended badly did, or with how all did. */
    async stop() {
      const hows = await Promise.all(all.map((process) => process.stop()));
      await database.stop();
      return hows.find(({ code }) => code !== 0) ?? hows[0];
    },
  };
}

/** Which flags are whose. Every flag has its value behind it, or none. */
function split(args) {
  const ofGateways = [];
  const ofNodes = [];
  for (let index = 0; index < args.length; index++) {
    const words = [args[index]];
    if (index + 1 < args.length && !args[index + 1].startsWith('--')) words.push(args[++index]);
    if (OF_GATEWAYS.includes(words[0])) ofGateways.push(...words);
    if (!OF_GATEWAYS.includes(words[0]) || OF_BOTH.includes(words[0])) ofNodes.push(...words);
  }
  return { ofGateways, ofNodes };
}

/** A port that nobody has: a node must say where it is reached before it listens. */
const freePort = () =>
  new Promise((resolve, reject) => {
    const server = net.createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
