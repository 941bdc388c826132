// @ts-check
// A first tour: make a machine, run commands, close its network, take one out of a warm pool.
//
//   npx nullspace engine --background      (or set NULLSPACE_API_URL and NULLSPACE_API_KEY of another engine)
//   node index.mjs

import { Machine, NetworkEgressPolicy, TemplateWarmPool } from 'nullspace';

const machine = await Machine.create({
  template: 'base',
  timeout: 120,
  metadata: { example: 'node-quickstart' },
  network: { egress: NetworkEgressPolicy.denyAll() },
});
try {
  console.log(`made            ${machine.id}`);

  const hello = await machine.commands.run('echo "hello from $(hostname), uid $(id -u)"', { shell: true });
  console.log(`command output  ${hello.stdout.trim()}`);

  const { status, createdAt } = await machine.getInfo();
  console.log(`inspected       ${status}, made ${createdAt.toISOString()}`);

  // Nothing leaves a machine under deny_all: the connection is refused, whatever the address.
  const probe = 'exec 3<>/dev/tcp/1.1.1.1/80 && echo hi >&3 && timeout 10 head -c 1 <&3 | grep -q .';
  const denied = await machine.commands.run('bash', { args: ['-c', probe], timeout: 20 });
  const why = denied.stderr.trim().split(': ').at(-1) || 'closed at once';
  console.log(
    `under deny_all  ${denied.exitCode === 0 ? 'CONNECTED, which must not happen' : `connection refused (${why})`}`,
  );
  if (denied.exitCode === 0) process.exitCode = 1;
} finally {
  await machine.kill();
}

// A warm pool holds machines ready, so that a create takes milliseconds.
const pool = await TemplateWarmPool.create('base', { name: 'quickstart', minReady: 1 });
try {
  await pool.waitUntilReady({ timeout: 60, intervalMs: 50 });
  const begun = performance.now();
  const warm = await Machine.create({ warmPool: pool, warmPoolMode: 'prefer', timeout: 120 });
  const took = performance.now() - begun;
  try {
    const { warmPoolCheckout } = await warm.getInfo();
    console.log(`warm pool       ${warm.id} in ${took.toFixed(1)} ms`);
    console.log('warmPoolCheckout', warmPoolCheckout);

    const page = await Machine.list({ state: 'running', limit: 20 });
    for (const { id, status, template } of page.items) console.log(`listed          ${id} ${status} ${template}`);
  } finally {
    await warm.kill();
  }
} finally {
  await pool.delete();
}
