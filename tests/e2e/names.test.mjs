// Machines by name, and snapshots with one.

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { InvalidRequestError, NotFoundError, Nullspace } from 'nullspace';

import { engineForTests, SMALL, sh, until } from './support/engine.mjs';

const engine = await engineForTests();
after(() => engine.stopWell());
const { Machine, Snapshot } = new Nullspace(engine.client);
const NAME_KEY = 'nullspace.name';
const named = async (name) => (await Machine.list({ query: { metadata: { [NAME_KEY]: name } } })).items;

test('two hundred calls of one name from eight processes give one machine, and onCreate runs once', async () => {
  const program = fileURLToPath(new URL('support/get-or-create.mjs', import.meta.url));
  const answers = await Promise.all(
    Array.from({ length: 8 }, async () => {
      const child = fork(program, ['many', '25', JSON.stringify({ ...engine.client })]);
      const ended = new Promise((resolve) => child.once('exit', resolve));
      const [answer] = await Promise.all([new Promise((resolve) => child.once('message', resolve)), ended]);
      return answer;
    }),
  );
  const ids = answers.flatMap((answer) => answer.ids);
  assert.equal(ids.length, 200);
  assert.equal(new Set(ids).size, 1);
  assert.equal(
    answers.reduce((sum, { created }) => sum + created, 0),
    1,
  );
  const all = await named('many');
  assert.deepEqual(
    all.map(({ id }) => id),
    [ids[0]],
  );
  const machine = await Machine.connect(ids[0]);
  assert.equal(await sh(machine, 'cat /workspace/made'), 'x');
  await machine.kill();
});

test('the machine that lives is given, with time enough, a paused one resumed, a dead one made anew', async () => {
  let made = 0;
  const options = {
    ...SMALL,
    name: 'one',
    metadata: { project: 'p' },
    onCreate: async (machine) => {
      made += 1;
      await machine.files.write('made', `${made}`);
    },
  };
  const machine = await Machine.getOrCreate(options);
  assert.deepEqual((await machine.getInfo()).metadata, { project: 'p', [NAME_KEY]: 'one' });
  assert.equal((await Machine.getOrCreate(options)).id, machine.id);
  await Machine.getOrCreate({ ...options, timeout: 600 });
  assert.ok((await machine.getInfo()).remainingMs > 590_000);
  await Machine.getOrCreate({ ...options, timeout: 10 });
  assert.ok((await machine.getInfo()).remainingMs > 590_000, 'a lease is not made shorter');

  await machine.pause();
  const [first, second] = await Promise.all([Machine.getOrCreate(options), Machine.getOrCreate(options)]);
  assert.deepEqual([first.id, second.id], [machine.id, machine.id]);
  assert.equal((await machine.getInfo()).status, 'running');
  assert.equal(await machine.files.read('made'), '1');

  await machine.kill();
  const another = await Machine.getOrCreate(options);
  assert.notEqual(another.id, machine.id);
  assert.equal(await another.files.read('made'), '2');
  // Its first process ends, so the machine is dead.
  await another.commands.run('kill -9 -1; kill -9 1', { shell: true }).catch(() => {});
  await another.kill().catch(() => {});
  const third = await Machine.getOrCreate({ ...SMALL, name: 'one' });
  assert.notEqual(third.id, another.id);
  await third.kill();
});

test('a failure of onCreate is thrown as it is, and leaves no machine', async () => {
  const failure = new Error('no network');
  const options = { ...SMALL, name: 'fails' };
  await assert.rejects(
    Machine.getOrCreate({
      ...options,
      onCreate: () => {
        throw failure;
      },
    }),
    (error) => error === failure,
  );
  assert.deepEqual(await named('fails'), []);
  const aborted = new AbortController();
  const pending = Machine.getOrCreate({
    ...options,
    signal: aborted.signal,
    onCreate: () => {
      aborted.abort(new Error('enough'));
      return new Promise(() => {});
    },
  });
  await assert.rejects(pending, /enough/);
  assert.deepEqual(await named('fails'), []);
  // An error of the SDK too: it is no reason to try again.
  let runs = 0;
  const missing = Machine.getOrCreate({
    ...options,
    onCreate: async (machine) => {
      runs += 1;
      await machine.kill();
      await machine.getInfo();
    },
  });
  await assert.rejects(missing, NotFoundError);
  assert.equal(runs, 1);
});

test('whoever waits for a program that died in onCreate makes the machine anew', { timeout: 180_000 }, async () => {
  const program = fileURLToPath(new URL('support/get-or-create.mjs', import.meta.url));
  const child = fork(program, ['dies', '1', JSON.stringify({ ...engine.client }), 'forever']);
  await new Promise((resolve) => child.once('message', resolve));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
  const [half] = await named('dies');
  let made = 0;
  const machine = await Machine.getOrCreate({ ...SMALL, timeout: 300, name: 'dies', onCreate: () => made++ });
  assert.notEqual(machine.id, half.id);
  assert.equal(made, 1);
  assert.deepEqual(
    (await named('dies')).map(({ id }) => id),
    [machine.id],
  );
  await machine.kill();
});

test('a sign of life that comes late does not undo the end of onCreate', async () => {
  let late = 0;
  const slow = async (url, init) => {
    if (`${url}`.includes('/files') && /"1"/.test(String(init.body))) {
      late += 1;
      await sleep(1500);
    }
    return fetch(url, init);
  };
  const { Machine: Slow } = new Nullspace({ ...engine.client, fetch: slow });
  const machine = await Slow.getOrCreate({ ...SMALL, name: 'late', onCreate: () => sleep(5300) });
  await sleep(2000);
  assert.equal(late, 1);
  assert.equal(await machine.files.read(`/tmp/.nullspace-made-${machine.id}/state`), 'done');
  await machine.kill();
});

test('what is wrong with the options is said though the machine is there', async () => {
  const machine = await Machine.getOrCreate({ ...SMALL, name: 'wrong' });
  const refused = (options, message) =>
    assert.rejects(Machine.getOrCreate(options), (error) => {
      assert.ok(error instanceof InvalidRequestError);
      assert.match(error.message, message);
      return true;
    });
  await refused(undefined, /`name`|options/);
  await refused({}, /`name` must be 1 to 128 visible ASCII characters, such as 'agent-7', not undefined/);
  await refused({ name: 'two words' }, /`name`/);
  await refused({ name: 'wrong', vcpus: 0 }, /`vcpus`/);
  await refused({ name: 'wrong', memoryMB: 1 }, /did you mean `memoryMb`/);
  await refused({ name: 'wrong', onCreate: 1 }, /`onCreate` must be a function/);
  await refused({ name: 'wrong', idempotencyKey: 'k' }, /`idempotencyKey`/);
  await machine.kill();
});

test('where names are not unique, the older of two machines stays', async () => {
  // Stands for another server: what the engine sees is another entry, which it keeps as any other.
  const plain = async (url, init) => {
    const rename = (text) => text?.replaceAll('nullspace.name', 'plain.name');
    const answer = await fetch(rename(`${url}`.replaceAll('%22nullspace', '%22plain')), {
      ...init,
      body: typeof init.body === 'string' ? rename(init.body) : init.body,
    });
    const text = await answer.text();
    return new Response(text.replaceAll('plain.name', 'nullspace.name'), answer);
  };
  const other = new Nullspace({ ...engine.client, fetch: plain });
  let made = 0;
  // Other options, so another body: the idempotency key does not hold them together.
  const both = await Promise.all(
    [64, 65, 66].map((memoryMb) =>
      other.Machine.getOrCreate({ ...SMALL, memoryMb, name: 'twins', onCreate: () => made++ }),
    ),
  );
  assert.equal(new Set(both.map(({ id }) => id)).size, 1);
  assert.equal(made, 1);
  await until('the others are gone', async () => {
    const { items } = await Machine.list({ query: { metadata: { 'plain.name': 'twins' } } });
    return items.length === 1;
  });
  await both[0].kill();
});

test('a snapshot has a name and metadata, and is listed by them', async () => {
  const machine = await Machine.create(SMALL);
  const snapshot = await machine.createSnapshot({ name: 'ready', metadata: { stage: 1 } });
  assert.equal(snapshot.metadata[NAME_KEY], 'ready');
  assert.equal(snapshot.metadata.stage, 1);
  const plain = await machine.createSnapshot();
  const ids = async (options) => (await Snapshot.list(options)).map(({ id }) => id);
  assert.deepEqual(await ids({ name: 'ready' }), [snapshot.id]);
  assert.deepEqual(await ids({ name: 'ready', metadata: { stage: 1 } }), [snapshot.id]);
  assert.deepEqual(await ids({ name: 'ready', metadata: { stage: 2 } }), []);
  assert.deepEqual(await ids({ metadata: { stage: 1 } }), [snapshot.id]);
  assert.deepEqual(await ids({ machineId: machine.id }), [plain.id, snapshot.id]);
  await assert.rejects(machine.createSnapshot({ name: '' }), InvalidRequestError);
  await assert.rejects(machine.createSnapshot({ name: 'two words' }), /visible ASCII/);
  await assert.rejects(Snapshot.list({ name: 1 }), InvalidRequestError);
  await Promise.all([snapshot, plain].map(({ id }) => Snapshot.delete(id)));
  await machine.kill();
});

test('a server that keeps no metadata of snapshots says so, and keeps no snapshot', async () => {
  const machine = await Machine.create(SMALL);
  const deaf = new Nullspace({
    ...engine.client,
    fetch: (url, init) => fetch(url, { ...init, body: `${url}`.endsWith('/snapshots') ? undefined : init.body }),
  });
  const same = await deaf.Machine.connect(machine.id);
  await assert.rejects(same.createSnapshot({ name: 'lost' }), /keeps no metadata of snapshots/);
  assert.deepEqual(await Snapshot.list({ machineId: machine.id }), []);
  await Snapshot.delete((await same.createSnapshot()).id);
  await machine.kill();
});
