// When a subscription is in force, as a server that does as it likes tells it: events, the monitor and watches always learn.

import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { WebSocketServer } from 'ws';

import { sdk } from './package.mjs';
import { serve } from './server.mjs';

const { InvalidRequestError, Lifecycle, Machine, Monitor, NotFoundError, NullspaceError, TransportError } = sdk;

/** A server whose sockets do what `talk(socket, first)` does with their first frame. */
const talking = async (talk, answer) => {
  const server = await serve(answer ?? newest([]));
  const sockets = new WebSocketServer({ server: server.http });
  const firsts = [];
  sockets.on('connection', (socket) =>
    socket.once('message', (text) => {
      const first = JSON.parse(text);
      firsts.push(first);
      talk(socket, first);
    }),
  );
  return { ...server, firsts, closed: () => sockets.clients.size === 0 };
};

const event = (id) => ({
  id,
  occurred_at: '2026-01-02T03:04:05Z',
  audience: 'customer',
  operation: 'create',
  status: 'succeeded',
  actor_kind: 'user',
  metadata: {},
});
/** Answers lists of events. */
const newest =
  (events) =>
  ({ path }, _response, respond) => {
    if (!/\/lifecycle(\/events)?$/.test(path)) return false;
    respond(200, { events, offset: 0, limit: 1, has_more: false });
    return true;
  };
const say = (socket, frame) => socket.send(JSON.stringify(frame));
const confirm = (socket, { type, id }) =>
  say(
    socket,
    {
      subscribe: { type: 'subscribed', subscription: {}, reconnect_mode: 'cursor_replay' },
      monitor_subscribe: { type: 'monitor_snapshot', id, machines: [] },
      file_watch: { type: 'file_watch_started', id },
    }[type],
  );
const refuse = (socket, { type, id }) =>
  say(socket, { type: type === 'monitor_subscribe' ? 'monitor_error' : 'error', id, message: 'not with you' });

/** Each way to hear of something: `[promise that it is in force, end]`. */
const ways = {
  'Lifecycle.streamEvents': async (options) => {
    const stream = Lifecycle.streamEvents({ ...options, liveOnly: true });
    return [stream.started, () => stream.return()];
  },
  'machine.lifecycle.streamEvents': async ({ signal, ...options }) => {
    const machine = await Machine.connect('mch_1', options);
    const stream = machine.lifecycle.streamEvents({ signal, liveOnly: true });
    return [stream.started, () => stream.return()];
  },
  'Lifecycle.subscribe': async (options) => {
    const subscription = Lifecycle.subscribe(options);
    return [subscription.ready, () => subscription.stop()];
  },
  'Monitor.subscribe': async (options) => {
    const subscription = Monitor.subscribe({ ...options, onMetrics() {}, onError() {} });
    return [subscription.ready, () => subscription.stop()];
  },
  'files.watch': async ({ signal, ...options }) => {
    const machine = await Machine.connect('mch_1', options);
    const watch = machine.files.watch('/workspace', { signal });
    return [watch.started, () => watch.return()];
  },
};

const until = async (what, check) => {
  for (let round = 0; !check(); round++) {
    assert.ok(round < 500, what);
    await sleep(20);
  }
};

for (const [name, open] of Object.entries(ways)) {
  test(`${name} holds when the server says so, and not before`, async () => {
    let say;
    const asked = new Promise((resolve) => (say = resolve));
    const server = await talking((socket, first) => say(() => confirm(socket, first)));
    try {
      const [started, end] = await open(server.options);
      let holds = false;
      const waiting = started.then(() => (holds = true));
      const confirmed = await asked;
      await sleep(50);
      assert.equal(holds, false);
      confirmed();
      await waiting;
      await end();
      await until('the socket is closed', server.closed);
    } finally {
      await server.close();
    }
  });

  test(`${name} that is refused rejects with the server's words`, async () => {
    const server = await talking(refuse);
    try {
      const [started] = await open(server.options);
      await assert.rejects(started, (error) => error instanceof NullspaceError && /not with you/.test(error.message));
      await until('the socket is closed', server.closed);
    } finally {
      await server.close();
    }
  });

  test(`${name} whose connection drops before that rejects`, async () => {
    const server = await talking((socket) => socket.terminate());
    try {
      const [started] = await open(server.options);
      await assert.rejects(started, TransportError);
    } finally {
      await server.close();
    }
  });

  test(`${name} that is aborted before that rejects with the reason, and leaves no socket or listener`, async () => {
    const controller = new AbortController();
    const server = await talking(() => controller.abort('enough'));
    try {
      const [started] = await open({ ...server.options, signal: controller.signal });
      await assert.rejects(started, (reason) => reason === 'enough');
      await until('the socket is closed', server.closed);
      assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
      const [late] = await open({ ...server.options, signal: controller.signal });
      await assert.rejects(late, (reason) => reason === 'enough');
    } finally {
      await server.close();
    }
  });

  if (name === 'files.watch') continue;
  test(`${name} that is ended before that rejects`, async () => {
    let asked;
    const silent = new Promise((resolve) => (asked = resolve));
    const server = await talking(() => asked());
    try {
      const [started, end] = await open(server.options);
      await silent;
      await end();
      await assert.rejects(started, { name: 'AbortError' });
      await until('the socket is closed', server.closed);
      const [early, endAtOnce] = await open(server.options);
      await endAtOnce();
      await assert.rejects(early, { name: 'AbortError' });
    } finally {
      await server.close();
    }
  });
}

test('a stream that nobody steps along or asks for opens nothing', async () => {
  const server = await talking(confirm);
  try {
    const stream = Lifecycle.streamEvents({ ...server.options, liveOnly: true });
    await sleep(100);
    assert.deepEqual([server.requests.length, server.firsts.length], [0, 0]);
    await stream.return();
    await assert.rejects(stream.started, { name: 'AbortError' });
    assert.equal(server.requests.length, 0);
  } finally {
    await server.close();
  }
});

test('what is wrong with options, and what is not there, rejects `started` and then the first step', async () => {
  const server = await talking(confirm, ({ path }, _response, respond) => {
    if (!path.endsWith('/lifecycle/events')) return false;
    respond(404, { error: 'no such machine', code: 'machine_not_found' });
    return true;
  });
  try {
    const wrong = Lifecycle.streamEvents({ ...server.options, machine: 'x' });
    await assert.rejects(wrong.started, InvalidRequestError);
    await assert.rejects(wrong.next(), InvalidRequestError);
    assert.equal((await wrong.next()).done, true);
    const missing = Lifecycle.streamEvents({ ...server.options, machineId: 'mch_0', liveOnly: true });
    await assert.rejects(missing.started, NotFoundError);
    await assert.rejects(missing.next(), NotFoundError);
  } finally {
    await server.close();
  }
});

test('a live stream that is cut right after it began tells what happened meanwhile', async () => {
  const server = await talking(
    (socket, first) => {
      confirm(socket, first);
      // Cut at once; what happened since is known to the server alone.
      if (first.after_event_id === undefined) setTimeout(() => socket.terminate(), 20);
      else say(socket, { type: 'event', event: event('evt_2') });
    },
    newest([event('evt_1')]),
  );
  try {
    const stream = Lifecycle.streamEvents({ ...server.options, liveOnly: true });
    await stream.started;
    assert.equal((await stream.next()).value.id, 'evt_2');
    assert.deepEqual(
      server.firsts.map(({ live_only, after_event_id }) => [live_only, after_event_id]),
      [
        [true, undefined],
        [false, 'evt_1'],
      ],
    );
    await stream.return();
  } finally {
    await server.close();
  }
});

test('a socket to where nothing answers gives the same advice as a request does', async () => {
  const server = await serve();
  const machine = await Machine.connect('mch_1', server.options);
  await server.close();
  const failures = [
    machine.getInfo(),
    machine.files.watch('/workspace').started,
    machine.commands.run('ls', { onStdout() {} }),
    Monitor.subscribe(server.options).ready,
  ];
  const advice = `nothing answered at ${server.url} (the option \`baseUrl\`): start the local engine with \`npx nullspace engine\``;
  for (const failure of failures)
    await assert.rejects(
      failure,
      (error) => error instanceof TransportError && error.suggestedAction.startsWith(advice),
    );
});
