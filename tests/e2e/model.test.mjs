// Random lives of machines against a model, with kill -9 of the engine in between and in the middle: no lost snapshot, no
// machine in two states, no key that makes two machines, no zombie, no pool above its maximum, no file that nobody uses.
//
// The seed is printed; NULLSPACE_TEST_SEED runs one again. `npm run soak` takes 10 000 steps.

import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { ConflictError, NotFoundError, Nullspace, TransportError } from 'nullspace';

import { endAll, removeDirectory, temporaryDirectory } from '../../scripts/lib/cleanup.mjs';
import { startEngine } from '../../scripts/lib/engine.mjs';
import { until } from './support/engine.mjs';
import {
  controlGroups,
  descendants,
  loopDevicesBelow,
  machineDirectories,
  mountsBelow,
  stillAlive,
} from './support/host.mjs';

const long = Boolean(process.env.NULLSPACE_TEST_LONG);
const STEPS = Number(process.env.NULLSPACE_TEST_STEPS ?? (long ? 5000 : 60));
/** Machines that the model holds at most; more only take memory. */
const MOST = 6;
const SIZE = { vcpus: 1, memoryMb: 64 };
const POOL_MAX = 2;

after(endAll);

/** A generator with a seed, so that a failure can be repeated (mulberry32). */
function dice(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const roll = (sides) => Math.floor(next() * sides);
  return { roll, pick: (list) => list[roll(list.length)] };
}

/** It must fail so; an engine that was killed meanwhile is another matter. */
async function refused(promise, type) {
  const error = await promise.then(
    () => assert.fail(`it did not fail with ${type.name}`),
    (failure) => failure,
  );
  if (error instanceof TransportError) throw error;
  assert.ok(error instanceof type, String(error));
}

class World {
  /** id -> `{ status, text, handle }`: what must be so. `text` is what its file holds. */
  machines = new Map();
  /** id -> text. */
  snapshots = new Map();
  /** key -> id. */
  keys = new Map();
  /** Options of the create that was sent last. */
  asked;
  made = 0;

  constructor(seed) {
    this.dice = dice(seed);
    this.directory = temporaryDirectory('model');
    this.state = path.join(this.directory, 'state');
  }

  async start() {
    this.engine = await startEngine({ binary: process.env.NULLSPACE_TEST_ENGINE, state: this.state });
    this.client = new Nullspace(this.engine.client);
  }

  of(...states) {
    return [...this.machines].filter(([, { status }]) => states.includes(status)).map(([id]) => id);
  }

  add(handle, text) {
    assert.ok(!this.machines.has(handle.id), `${handle.id} was made twice`);
    this.machines.set(handle.id, { status: 'running', text, handle });
  }

  /** One step; what it does is in its name. `undefined` when the model has nothing for it. */
  step() {
    const { pick, roll } = this.dice;
    const { Machine, Snapshot } = this.client;
    const some = (...states) => pick(this.of(...states));
    const handle = (id) => this.machines.get(id).handle;
    const room = this.machines.size < MOST;
    const steps = {
      create: () => {
        const again = roll(3) === 0 && pick([...this.keys.keys()]);
        if (!again && !room) return undefined;
        const text = `text ${++this.made}`;
        const key = again || `key-${this.made}`;
        return async () => {
          this.asked = { ...SIZE, timeout: 3600, idempotencyKey: key, metadata: { key } };
          if (again && !this.machines.has(this.keys.get(key)))
            return assert.rejects(Machine.create(this.asked), (error) => {
              // `crash` looks for this one, as in every step.
              if (error instanceof TransportError) throw error;
              assert.equal(error.code, 'idempotency_key_expired');
              return true;
            });
          const machine = await Machine.create(this.asked);
          if (again) return assert.equal(machine.id, this.keys.get(key), 'a key made two machines');
          this.keys.set(key, machine.id);
          this.add(machine, undefined);
          await machine.files.write('/workspace/text', text);
          this.machines.get(machine.id).text = text;
        };
      },
      kill: () => {
        const id = some('running', 'paused', 'error');
        return (
          id &&
          (async () => {
            await Machine.killById(id);
            this.machines.delete(id);
            await refused(Machine.getInfoById(id), NotFoundError);
          })
        );
      },
      pause: () => {
        const id = some('running');
        return (
          id &&
          (async () => {
            await handle(id).pause();
            this.machines.get(id).status = 'paused';
          })
        );
      },
      pauseWhatIsPaused: () => {
        const id = some('paused');
        return id && (() => refused(handle(id).pause(), ConflictError));
      },
      resume: () => {
        const id = some('paused', 'running');
        return (
          id &&
          (async () => {
            await Machine.resume(id);
            this.machines.get(id).status = 'running';
          })
        );
      },
      resumeWhatIsDead: () => {
        const id = some('error');
        return id && (() => refused(Machine.resume(id), ConflictError));
      },
      snapshot: () => {
        const id = some('running', 'paused');
        return (
          id &&
          this.snapshots.size < MOST &&
          (async () => {
            const { text } = this.machines.get(id);
            this.snapshots.set((await handle(id).createSnapshot()).id, text);
          })
        );
      },
      deleteSnapshot: () => {
        const id = pick([...this.snapshots.keys()]);
        return (
          id &&
          (async () => {
            await Snapshot.delete(id);
            this.snapshots.delete(id);
          })
        );
      },
      restore: () => {
        const id = room && pick([...this.snapshots.keys()]);
        return (
          id && (async () => this.add(await Machine.create({ snapshotId: id, timeout: 3600 }), this.snapshots.get(id)))
        );
      },
      fork: () => {
        const id = room && some('running', 'paused');
        return id && (async () => this.add(await handle(id).fork(), this.machines.get(id).text));
      },
      read: () => {
        const id = some('running');
        const { text } = this.machines.get(id) ?? {};
        return text && (async () => assert.equal(await handle(id).files.read('/workspace/text'), text));
      },
      write: () => {
        const id = some('running');
        return (
          id &&
          (async () => {
            const machine = this.machines.get(id);
            const text = `text ${++this.made}`;
            machine.text = undefined;
            await machine.handle.files.write('/workspace/text', text);
            machine.text = text;
          })
        );
      },
      checkOut: () => {
        return (
          room &&
          (async () => {
            const options = { ...SIZE, timeout: 3600, warmPool: this.pool, warmPoolMode: 'prefer' };
            this.add(await Machine.create(options), undefined);
          })
        );
      },
    };
    const name = pick(Object.keys(steps));
    const run = steps[name]();
    return run ? { name, run } : undefined;
  }

  /** What the engine says is what the model says. */
  async compare() {
    const { items } = await this.client.Machine.list({ limit: 1000 });
    assert.equal(new Set(items.map(({ id }) => id)).size, items.length, 'a machine is listed twice');
    assert.deepEqual(
      new Map(items.map(({ id, status }) => [id, status]).sort()),
      new Map([...this.machines].map(([id, { status }]) => [id, status]).sort()),
    );
    const snapshots = (await this.client.Snapshot.list()).filter(({ metadata }) => metadata?.kind !== 'pause');
    assert.deepEqual(new Set(snapshots.map(({ id }) => id).sort()), new Set([...this.snapshots.keys()].sort()));
    const { status } = await this.client.TemplateWarmPool.get(this.pool).then((pool) => pool.getInfo());
    assert.ok(status.ready + status.warming <= POOL_MAX, JSON.stringify(status));
    // A directory for each that lives, those of the pool among them.
    const alive = this.of('running', 'paused').length;
    const places = machineDirectories(path.join(this.state, 'machines', 'machines')).length;
    assert.ok(places >= alive && places <= alive + POOL_MAX + 1, `${places} directories for ${alive} machines`);
  }

  /**
   * kill -9, sometimes in the middle of a step, and the next start: every machine is dead and said to be, every snapshot is
   * there. What was under way is done whole, or not at all.
   */
  async crash() {
    const processes = descendants(this.engine.pid);
    // A machine that is just being made may still be in a group of the computer's.
    const groups = controlGroups(processes, this.engine.pid).filter((group) => group.includes('mch_'));
    const before = { machines: new Map(this.machines), snapshots: new Map(this.snapshots) };
    const step = this.dice.roll(2) === 0 ? this.step() : undefined;
    const running = step?.run().then(
      () => undefined,
      (error) => error,
    );
    await sleep(this.dice.roll(12));
    this.engine.signal('SIGKILL');
    await this.engine.ended;
    const failure = await running;
    if (failure && !(failure instanceof TransportError)) throw failure;
    await until('no process is left', () => stillAlive(processes).length === 0);
    await this.start();
    assert.deepEqual(mountsBelow(this.state), []);
    assert.deepEqual(loopDevicesBelow(this.state), []);
    assert.deepEqual(
      groups.filter((group) => existsSync(group)),
      [],
    );

    const { items } = await this.client.Machine.list({ limit: 1000 });
    const found = new Map(items.map(({ id, status }) => [id, status]));
    for (const [id, status] of found) assert.equal(status, 'error', `${id} after a crash during ${step?.name}`);
    const known = new Set([...before.machines.keys(), ...this.machines.keys()]);
    const strangers = [...found.keys()].filter((id) => !known.has(id));
    const missing = [...known].filter((id) => !found.has(id));
    const mayAdd = failure && ['create', 'fork', 'restore', 'checkOut'].includes(step.name) ? 1 : 0;
    // A kill under way may have been carried out; so may one that was answered.
    assert.ok(strangers.length <= mayAdd, `${strangers} appeared during ${step?.name}`);
    const mayGo = step?.name === 'kill' ? 1 : 0;
    assert.ok(missing.length <= mayGo, `${missing} are lost after ${step?.name}: ${failure}`);
    for (const id of missing) this.machines.delete(id);
    for (const id of strangers) this.machines.set(id, {});
    for (const machine of this.machines.values()) {
      machine.status = 'error';
      machine.handle = undefined;
    }

    if (step?.name === 'create' && !this.keys.has(this.asked.idempotencyKey)) {
      // Whoever lost the answer asks again with the same key, and gets the one machine of it.
      const { id } = await this.client.Machine.create(this.asked);
      if (strangers.length === 1) assert.equal(id, strangers[0], 'a key made two machines');
      this.keys.set(this.asked.idempotencyKey, id);
      const { status } = await this.client.Machine.getInfoById(id);
      this.machines.set(id, {
        status,
        handle: status === 'running' ? await this.client.Machine.connect(id) : undefined,
      });
    }

    const kept = (await this.client.Snapshot.list()).map(({ id }) => id);
    const lost = [...before.snapshots.keys()].filter((id) => !kept.includes(id) && this.snapshots.has(id));
    assert.ok(lost.length === 0 || (failure && step.name === 'deleteSnapshot'), `snapshots ${lost} are lost`);
    const added = kept.filter((id) => !this.snapshots.has(id) && !before.snapshots.has(id));
    assert.ok(added.length <= (failure && step.name === 'snapshot' ? 1 : 0), `${added} during ${step?.name}`);
    for (const id of lost) this.snapshots.delete(id);
    for (const id of kept) if (!this.snapshots.has(id)) this.snapshots.set(id, undefined);
    await this.compare();
  }

  async run() {
    await this.start();
    const pool = await this.client.TemplateWarmPool.create('base', { ...SIZE, minReady: 1, maxReady: POOL_MAX });
    this.pool = pool.id;
    let crashes = 0;
    for (let n = 0; n < STEPS; ) {
      const step = this.step();
      if (!step) continue;
      n++;
      await step.run();
      if (n % 10 === 0) await this.compare();
      if (this.dice.roll(25) === 0) {
        await this.crash();
        crashes++;
      }
      // Dead ones are only there to be listed.
      if (this.of('error').length > MOST / 2) {
        for (const id of this.of('error')) {
          await this.client.Machine.killById(id);
          this.machines.delete(id);
        }
      }
    }
    for (const id of this.machines.keys()) await this.client.Machine.killById(id);
    for (const id of this.snapshots.keys()) await this.client.Snapshot.delete(id);
    await (await this.client.TemplateWarmPool.get(this.pool)).delete();
    this.machines.clear();
    this.snapshots.clear();
    const layers = path.join(this.state, 'machines', 'layers');
    await until('no files are left', () => readdirSync(layers).length === 0);
    await until('no machine is left', () => machineDirectories(path.join(this.state, 'machines')).length === 0);
    assert.deepEqual(await this.engine.stop(), { code: 0, signal: null });
    return crashes;
  }

  async end() {
    await this.engine?.stop();
    removeDirectory(this.directory);
  }
}

const given = process.env.NULLSPACE_TEST_SEED;
for (const seed of given ? [Number(given)] : [1, Date.now() >>> 0]) {
  test(`${STEPS} random steps with kill -9 in between agree with the model (seed ${seed})`, async (t) => {
    const world = new World(seed);
    t.after(() => world.end());
    const crashes = await world.run();
    t.diagnostic(`seed ${seed}: ${crashes} crashes`);
  });
}
