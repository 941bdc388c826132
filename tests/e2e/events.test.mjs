// Lifecycle events and the monitor as streams: over cut connections and killed engines, in Node and in a browser.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { AuthError, InvalidRequestError, NotFoundError, Nullspace } from 'nullspace';

import { endAll, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { site } from './support/browser.mjs';
import { cuttingProxy } from './support/cutting-proxy.mjs';
import { engineForTests, SMALL, until } from './support/engine.mjs';

const page = await site();
const plan = { frames: Infinity };
const proxy = await cuttingProxy(plan);
const args = ['--allow-origin', page.origin, '--allow-host', proxy.host];
const directory = temporaryDirectory('events');
const state = path.join(directory, 'state');
let engine = await engineForTests({ state, args });
plan.target = engine.url;
after(async () => {
  await engine.stopWell();
  await page.close();
  await proxy.close();
  removeDirectory(directory);
  await endAll();
});

/** Through the proxy, whose address outlives engines. */
const sdk = new Nullspace({ apiKey: engine.apiKey, baseUrl: proxy.url });
const direct = () => new Nullspace(engine.client);

/** Takes so many events off a stream and leaves it. */
async function take(stream, count) {
  const events = [];
  for await (const event of stream) if (events.push(event) === count) break;
  return events;
}

const operations = (events) => events.map(({ operation }) => operation);

test('lifecycle.streamEvents of a machine tells its past and then what happens', async () => {
  const machine = await direct().Machine.create(SMALL);
  const stream = machine.lifecycle.streamEvents();
  const [created] = await take(stream, 1);
  assert.equal(created.operation, 'create');
  assert.equal(created.machineId, machine.id);
  assert.ok(created.occurredAt instanceof Date);
  // It was left: nothing more comes of it.
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
  const live = machine.lifecycle.streamEvents({ liveOnly: true });
  await live.started;
  await machine.setTimeout(100);
  assert.equal((await live.next()).value.operation, 'timeout_updated');
  await machine.kill();
  assert.equal((await live.next()).value.operation, 'destroy');
  await live.return();
  const gone = machine.lifecycle.streamEvents();
  await assert.rejects(gone.next(), NotFoundError);
  const behind = await take(direct().Lifecycle.streamEvents({ machineId: machine.id, afterEventId: created.id }), 2);
  assert.deepEqual(operations(behind), ['timeout_updated', 'destroy']);
});

test('a stream over a connection that is cut after every event loses none and repeats none', async () => {
  const { Machine } = direct();
  const machine = await Machine.create(SMALL);
  plan.frames = 3; // the confirmation and two events
  const seen = [];
  const reading = (async () => {
    for await (const event of sdk.Lifecycle.streamEvents({ machineId: machine.id })) {
      seen.push(event);
      if (event.operation === 'destroy') break;
    }
  })();
  for (let secs = 100; secs < 112; secs++) {
    await machine.setTimeout(secs);
    await sleep(secs % 3 === 0 ? 150 : 0);
  }
  await machine.kill();
  await reading;
  plan.frames = Infinity;
  const listed = await direct().Lifecycle.listMachineEvents(machine.id, { order: 'asc', limit: 100 });
  assert.equal(listed.events.length, 14);
  assert.deepEqual(
    seen.map(({ id }) => id),
    listed.events.map(({ id }) => id),
  );
});

test('a stream goes on behind its last event after kill -9 and a restart of the engine', async () => {
  const machine = await direct().Machine.create(SMALL);
  const seen = [];
  const reading = (async () => {
    for await (const event of sdk.Lifecycle.streamEvents({ machineId: machine.id })) {
      seen.push(event);
      if (event.operation === 'destroy') break;
    }
  })();
  await until('the create is seen', () => seen.length === 1);
  engine.signal('SIGKILL');
  await engine.ended;
  engine = await engineForTests({ state, args, apiKey: engine.apiKey });
  // Happened before the stream could come back: the machine died with its engine, and is then removed.
  await (await direct().Machine.connect(machine.id)).kill();
  plan.target = engine.url;
  await reading;
  const listed = await direct().Lifecycle.listMachineEvents(machine.id, { order: 'asc' });
  assert.deepEqual(operations(seen), ['create', 'reconcile', 'destroy']);
  assert.deepEqual(
    seen.map(({ id }) => id),
    listed.events.map(({ id }) => id),
  );
});

test('what happens right after `started` or `ready` is told, whole and in order, though nobody stepped yet', async () => {
  const { Lifecycle, Machine, Monitor } = direct();
  const machine = await Machine.create(SMALL);
  const filter = { machineId: machine.id, operation: 'timeout_updated' };
  const streams = [
    Lifecycle.streamEvents({ ...filter, liveOnly: true }),
    machine.lifecycle.streamEvents({ operation: 'timeout_updated', liveOnly: true }),
  ];
  const heard = [];
  const subscription = Lifecycle.subscribe({ ...filter, onEvent: ({ id }) => heard.push(id) });
  await Promise.all([...streams.map(({ started }) => started), subscription.ready]);
  await Promise.all(Array.from({ length: 60 }, (_, index) => machine.setTimeout(100 + index)));
  const ids = (events) => events.map(({ id }) => id);
  const listed = await Lifecycle.listMachineEvents(machine.id, {
    ...filter,
    machineId: undefined,
    order: 'asc',
    limit: 100,
  });
  assert.equal(listed.events.length, 60);
  for (const stream of streams) assert.deepEqual(ids(await take(stream, 60)), ids(listed.events));
  await until('all are told', () => heard.length === 60);
  assert.deepEqual(heard, ids(listed.events));
  await subscription.stop();

  const told = new Set();
  const watching = Monitor.subscribe({ intervalMs: 100, onUpdate: ({ machineId }) => told.add(machineId) });
  await watching.ready;
  const short = await Machine.create(SMALL);
  await until('a machine made right after it is told', () => told.has(short.id));
  await watching.stop();
  await Promise.all([short.kill(), machine.kill()]);

  await assert.rejects(machine.lifecycle.streamEvents({ liveOnly: true }).started, NotFoundError);
});

test('a live stream that is cut before its first event tells what happened meanwhile', async () => {
  const machine = await direct().Machine.create(SMALL);
  plan.frames = 1; // the confirmation
  const live = sdk.Lifecycle.streamEvents({ machineId: machine.id, liveOnly: true });
  const subscription = sdk.Lifecycle.subscribe({ machineId: machine.id });
  await Promise.all([live.started, subscription.ready]);
  plan.frames = Infinity;
  await machine.setTimeout(100);
  await machine.kill();
  for (const stream of [live, subscription])
    assert.deepEqual(operations(await take(stream, 2)), ['timeout_updated', 'destroy']);
});

test('streams end at once: return, await using, signal', async () => {
  const { Lifecycle } = direct();
  const idle = Lifecycle.streamEvents({ liveOnly: true });
  const waiting = idle.next();
  await sleep(200);
  await idle.return();
  assert.deepEqual(await waiting, { done: true, value: undefined });
  const controller = new AbortController();
  const aborted = Lifecycle.streamEvents({ liveOnly: true, signal: controller.signal }).next();
  setTimeout(() => controller.abort('enough'), 200);
  await assert.rejects(aborted, (reason) => reason === 'enough');
  const used = Lifecycle.streamEvents({ liveOnly: true });
  const last = used.next();
  await used[Symbol.asyncDispose]();
  assert.equal((await last).done, true);
  // By itself, when nothing comes.
  for await (const event of Lifecycle.streamEvents({ liveOnly: true, idleTimeout: 0.3 })) assert.fail(event.operation);
});

test('wrong options and a wrong key are errors of the first step', async () => {
  const { Lifecycle } = direct();
  await assert.rejects(Lifecycle.streamEvents({ operation: 'born' }).next(), InvalidRequestError);
  await assert.rejects(Lifecycle.streamEvents({ liveOnly: true, afterEventId: 'x' }).next(), /afterEventId/);
  await assert.rejects(Lifecycle.streamEvents({ machine: 'x' }).next(), /machineId/);
  const { Lifecycle: other } = new Nullspace({ baseUrl: engine.url, apiKey: 'wrong' });
  await assert.rejects(other.streamEvents().next(), AuthError);
});

test('Lifecycle.subscribe tells callbacks what happens from now on', async () => {
  const { Lifecycle, Machine } = direct();
  const old = await Machine.create(SMALL);
  const heard = [];
  const subscription = Lifecycle.subscribe({ operation: 'create', onEvent: (event) => heard.push(event.machineId) });
  await subscription.ready;
  const machine = await Machine.create(SMALL);
  await until('the create is told', () => heard.length > 0);
  assert.deepEqual(heard, [machine.id]);
  await subscription.stop();
  await subscription.done;
  await (await Machine.create(SMALL)).kill();
  assert.deepEqual(heard, [machine.id]);

  // What a callback throws ends it and is not lost.
  const failure = new Error('of the callback');
  const told = await new Promise((resolve) => {
    const failing = Lifecycle.subscribe({
      onEvent() {
        throw failure;
      },
      onError: resolve,
    });
    assert.ok(failing.done instanceof Promise);
    failing.ready.then(() => machine.kill());
  });
  assert.equal(told, failure);
  const wrong = Lifecycle.subscribe({ onEvent() {}, machine: 'x' });
  await assert.rejects(wrong.done, InvalidRequestError);
  await assert.rejects(wrong.ready, InvalidRequestError);

  // Without callbacks it is walked along.
  const walked = Lifecycle.subscribe({ machineId: old.id });
  assert.equal(walked.done, undefined);
  const next = walked[Symbol.asyncIterator]().next();
  await walked.ready;
  await old.kill();
  assert.equal((await next).value.operation, 'destroy');
  await walked.stop();
});

test('Monitor.subscribe tells a snapshot, changes, metrics and processes', async () => {
  const { Monitor, Machine } = direct();
  const first = await Machine.create(SMALL);
  await first.commands.run('sleep 99', { shell: true, background: true });
  const seen = { snapshots: [], updates: [], metrics: [], processes: [] };
  const watching = Monitor.subscribe({
    intervalMs: 100,
    includeProcesses: true,
    onSnapshot: (machines) => seen.snapshots.push(machines),
    onUpdate: (update) => seen.updates.push(update),
    onMetrics: (event) => seen.metrics.push(event),
    onProcesses: (event) => seen.processes.push(event),
  });
  await until('the processes are told', () => seen.processes.length > 0);
  assert.ok(seen.snapshots[0].some(({ id, createdAt }) => id === first.id && createdAt instanceof Date));
  assert.deepEqual(
    seen.processes[0].processes.map(({ command }) => command),
    ['sleep 99'],
  );
  assert.equal(typeof seen.metrics[0].metrics.cpuPercent, 'number');
  assert.ok(seen.metrics[0].metrics.memTotalBytes > 0);
  const second = await Machine.create(SMALL);
  await until('a new machine is told', () =>
    seen.updates.some(({ machineId, machine }) => machineId === second.id && machine?.status === 'running'),
  );
  await second.kill();
  await until('its end is told', () =>
    seen.updates.some(({ machineId, removed }) => machineId === second.id && removed),
  );
  await watching.stop();
  const count = seen.metrics.length;
  await sleep(300);
  assert.equal(seen.metrics.length, count);
  await first.kill();
  await assert.rejects(Monitor.subscribe({ intervalMs: 1, onMetrics() {} }).done, /intervalMs/);
});

test('Monitor.subscribe comes back after a cut with a fresh snapshot', async () => {
  plan.frames = 2;
  const machine = await direct().Machine.create(SMALL);
  const watching = sdk.Monitor.subscribe({ intervalMs: 100 });
  const kinds = [];
  for await (const { kind } of watching) if (kinds.push(kind) === 4) break;
  plan.frames = Infinity;
  assert.deepEqual(kinds, ['snapshot', 'metrics', 'snapshot', 'metrics']);
  await machine.kill();
});

test('in a browser: streams, subscriptions and the monitor', async () => {
  const seen = await page.run(
    engine,
    async ({ Machine, Lifecycle, Monitor }, small) => {
      const machine = await Machine.create(small);
      const operations = [];
      const metrics = new Promise((resolve) => {
        const watching = Monitor.subscribe({
          intervalMs: 100,
          onMetrics: (event) => event.machineId === machine.id && watching.stop().then(() => resolve(event)),
        });
      });
      const { cpuPercent } = (await metrics).metrics;
      for await (const { operation } of machine.lifecycle.streamEvents()) {
        operations.push(operation);
        if (operation === 'create') machine.kill();
        if (operation === 'destroy') break;
      }
      const idle = Lifecycle.streamEvents({ liveOnly: true });
      const waiting = idle.next();
      setTimeout(() => idle.return(), 200);
      return { cpu: typeof cpuPercent, operations, idle: (await waiting).done };
    },
    SMALL,
  );
  assert.deepEqual(seen, { cpu: 'number', operations: ['create', 'destroy'], idle: true });
});
