// Calls that must not compile: each line below an @ts-expect-error is an error, or the check fails.

import { Machine, NetworkEgressPolicy, Nullspace, Template, TemplateWarmPool } from 'nullspace';

export async function wrong(machine: Machine): Promise<void> {
  // @ts-expect-error unknown option
  await Machine.create({ memoryMB: 512 });
  // @ts-expect-error text instead of a number
  await Machine.create({ vcpus: '2' });
  // @ts-expect-error null is not absent
  await Machine.create({ template: null });
  // @ts-expect-error no such mode
  await Machine.create({ network: { egress: { mode: 'open' } } });
  // @ts-expect-error lists belong to mode custom
  await Machine.create({ network: { egress: { mode: 'deny_all', allowCidrs: [] } } });
  // @ts-expect-error a secret is a value or a variable
  await Machine.create({ network: { secrets: { A: { value: 'v', env: 'A', hosts: ['a.example'] } } } });
  // @ts-expect-error a secret has hosts
  await Machine.create({ network: { secrets: { A: { value: 'v' } } } });
  // @ts-expect-error no such action
  await Machine.create({ timeoutAction: 'pause' });
  // @ts-expect-error no such checkout mode
  await Machine.create({ warmPool: 'twp_1', warmPoolMode: 'maybe' });
  // @ts-expect-error a pool needs an id
  await Machine.create({ warmPool: {} });
  // @ts-expect-error the id is missing
  await Machine.connect();
  // @ts-expect-error no such field
  await Machine.list({ fields: ['memory'] });
  // @ts-expect-error not asked for
  (await Machine.list({ fields: ['id'] }))[0]?.status;
  // @ts-expect-error rows are no page
  (await Machine.list({ fields: ['id'] })).nextItems();
  // @ts-expect-error handles come from calls
  new Machine();
  // @ts-expect-error ids do not change
  machine.id = 'mch_2';
  // @ts-expect-error handles are not freed by hand
  machine.free();
  // @ts-expect-error arguments are text
  await machine.commands.run('ls', { args: [1] });
  // @ts-expect-error a call has no key of its own on a handle
  await machine.commands.run('ls', { apiKey: 'k' });
  // @ts-expect-error an option of create
  new Nullspace({ vcpus: 2 });
  // @ts-expect-error a function of no arguments
  new Nullspace({ apiKey: (tenant: string) => tenant });
  // @ts-expect-error one rate
  NetworkEgressPolicy.custom({ rateLimit: { burst: 1 } });
  // @ts-expect-error the template is missing
  await TemplateWarmPool.create({ minReady: 1 });
  // @ts-expect-error answers are read-only
  (await machine.getInfo()).status = 'paused';
  // @ts-expect-error no such end of a lease
  await machine.setTimeout(60, { timeoutAction: 'pause' });
  // @ts-expect-error a command in the background has no result yet
  (await machine.commands.run('ls', { background: true })).exitCode;
  // @ts-expect-error a probe is TCP or HTTP
  await machine.waitForPreview(8080, { kind: 'udp' });
  // @ts-expect-error processes have numbers
  await machine.commands.kill('7');
  const { results } = await machine.runCode('1');
  // @ts-expect-error the slices of a pie have no `x`
  if (results[0]?.chart?.type === 'pie') console.log(results[0].chart.elements?.[0]?.x);
  // @ts-expect-error there is no such phase
  await machine.files.upload('a', '/b', { onProgress: ({ phase }) => phase === 'failed' });
  // @ts-expect-error a template is begun by a static
  new Template();
  // @ts-expect-error what it is called is missing
  await Template.build(Template.fromImage('debian'));
  // @ts-expect-error a name of another SDK
  Template.fromImage('debian').setStartCmd('node server.js');
  // @ts-expect-error one source of a secret
  Template.fromImage('debian').addBuildSecret('npm', { token: 'x' });
}
