// Which tests of tests/e2e run unchanged against a gateway with three nodes, and why the others do not: each file is in one list.

/** They talk to an engine through its API alone. Those that are true run in every `npm test`, the others with `--all`. */
export const THROUGH_A_GATEWAY = {
  'access.test.mjs': true,
  'adapters.test.mjs': false,
  'bytes.test.mjs': false,
  'code-cells.test.mjs': false,
  'code.test.mjs': false,
  'create.test.mjs': true,
  'egress-domains.test.mjs': false,
  'egress-table.test.mjs': false,
  'egress.test.mjs': false,
  'events.test.mjs': false,
  'examples.test.mjs': false,
  'files.test.mjs': true,
  'git.test.mjs': false,
  'harness.test.mjs': false,
  'isolation.test.mjs': false,
  'lifecycle.test.mjs': true,
  'names.test.mjs': false,
  'previews.test.mjs': true,
  'pty.test.mjs': true,
  'secrets.test.mjs': false,
  'seed-page.test.mjs': false,
  'ssh.test.mjs': true,
  'streams.test.mjs': true,
  'template-builds.test.mjs': false,
  'template-images.test.mjs': false,
  'tracing.test.mjs': false,
  'uploads.test.mjs': false,
  'volume-files.test.mjs': false,
  'volumes.test.mjs': true,
  'warm-pool.test.mjs': false,
  'webhooks.test.mjs': false,
};

/** Files about one engine, its process, its flags or its disk. */
export const OF_ONE_ENGINE = {
  'attacks.test.mjs': 'machines side by side on one computer, and what is left of them on its disk',
  'cluster-loss.test.mjs': 'a cluster of its own, which loses parts of itself',
  'container-options.test.mjs': 'flags of `serve` in a container: ports, --deny-egress',
  'crash.test.mjs': 'SIGKILL and SIGTERM of the engine, and what its next start finds',
  'durability.test.mjs': 'what an engine has written when it answers, by strace',
  'faults.test.mjs': '--faults, which a node does not take: a test breaks one engine at a time',
  'model.test.mjs':
    'kills the engine, and counts its processes; crates/engine/tests/cluster has the model of a cluster',
  'template-crash.test.mjs': 'SIGKILL of the engine in the middle of a build',
  'templates.test.mjs': '`nullspace-engine template` on the state directory of an engine',
  'testing.test.mjs': '`startEngine` of the package, which starts one',
  'unprivileged.test.mjs': 'an engine that is not root',
};

/**
 * Tests of the first list that kill their engine, start a second one, look at its disk or count what it has open; and those that attach a volume to a machine
 * that was made without it: a volume lives on its node, where only luck puts such a machine.
 */
export const TESTS_OF_ONE_ENGINE = {
  'events.test.mjs': ['a stream goes on behind its last event after kill -9 and a restart of the engine'],
  'ssh.test.mjs': ['a copy whose client is killed, or whose machine ends, leaves nothing open'],
  'uploads.test.mjs': [
    "an aborted upload leaves nothing, neither there nor on the engine's disk",
    'a killed engine leaves no half upload',
  ],
  'volume-files.test.mjs': [
    'a kill -9 of the engine leaves no process, and no half of a file after the next start',
    'no process stays behind when nobody works on files',
  ],
  'volumes.test.mjs': [
    'volumes come and go while a machine runs',
    'links that a machine plants lead a mount nowhere else',
    'nothing of a volume stays mounted, whatever ends its machine',
    'volumes outlive a kill -9 of the engine',
  ],
  'webhooks.test.mjs': ['a delivery that is under way when the engine is killed is made by the next one'],
};

/** The pattern of the names of a file's tests that run; `undefined` for all. One that matches Node's root would match them all. */
export function namePattern(file) {
  const left = TESTS_OF_ONE_ENGINE[file];
  if (!left) return undefined;
  const escaped = left.map((name) => name.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&'));
  return `/^(?!<root>$|(${escaped.join('|')})$)/`;
}
