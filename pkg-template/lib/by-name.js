// Names. Of machines: programs that ask at once get the same one, and what is done to a new one is done once.
//
// The name is an entry of the metadata. Of the local engine's machines that live, no two have the same. For other servers, programs that
// ask with the same options within a minute share an idempotency key; if two are made all the same, the older one stays.
// Who runs `onCreate` is settled in the machine: whoever makes a directory there. The others read its file `state`.

import { pause, unlessAborted } from './abort.js';
import { connectionOf, statics } from './calls.js';
import { NotFoundError, NotImplementedError, NullspaceError } from './errors.js';
import { findByName, isAlive, NAME, NAME_KEY } from './names.js';
import { wrong } from './checks.js';

/** Between two tries, milliseconds: the first, and the most. */
const FIRST_DELAY_MS = 50;
const LAST_DELAY_MS = 2000;
/** Machines that are refused or die one after the other, until that is an error. */
const MOST_TRIES = 12;
/** Whoever runs `onCreate` says so this often; silent for so long, it is dead. Milliseconds. */
const BEAT_MS = 5000;
const SILENCE_MS = 60_000;

/** What `onCreate` threw. */
class Failed {
  constructor(error) {
    this.error = error;
  }
}

// That of lists is another one once streams.js has made it.
const of = (name) => (args, client) => statics.get('Machine').get(name)(args, client);
const [connect, create, getInfoById, killById, list] = ['connect', 'create', 'getInfoById', 'killById', 'list'].map(of);

/** The machine went away, or is about to: the next try finds out. */
const isGone = ({ code } = {}) => code === 'machine_not_found' || code === 'machine_not_ready';
/** Another program makes it at the moment, or what this key made is gone. */
const isTaken = ({ code } = {}) =>
  code === 'conflict' || code === 'idempotency_key_expired' || code === 'transition_in_progress';

const delays = () => {
  let next = FIRST_DELAY_MS;
  return (signal) => {
    const now = next;
    next = Math.min(next * 2, LAST_DELAY_MS);
    return pause(now, signal);
  };
};

/** Checks the options as the create would, which its own hook stops before anything is sent. */
const check = async (wanted, client) => {
  const stopped = {};
  const onRequest = () => {
    throw stopped;
  };
  // Nor does a tracer hear of it.
  await create([{ ...wanted, onRequest, startSpan: () => undefined }], client).catch((error) => {
    if (error !== stopped) throw error;
  });
};

const find = (name, asked, client) => findByName((options) => list([options], client), name, asked);

/** Makes the machine. `undefined` when another one has the name by now, or when it is dead already. */
const make = async (name, attempt, wanted, asked, client) => {
  const idempotencyKey = `name-${name}-${Math.floor(Date.now() / 60_000)}-${attempt}`;
  const made = await create([{ ...wanted, idempotencyKey }], client);
  const first = await find(name, asked, client);
  if (first?.id === made.id) return made;
  if (first) {
    await killById([made.id, asked], client).catch(() => {}); // its lease ends it
    return undefined;
  }
  // A key gives its machine also when that has died.
  const { status } = await getInfoById([made.id, asked], client);
  return isAlive(status) ? made : undefined;
};

/** Takes up the machine that was found. */
const takeUp = async ({ id, ...found }, { timeout, signal }, asked, client) => {
  let info = found;
  for (const delay = delays(); info.status === 'creating'; ) {
    await delay(signal);
    info = await getInfoById([id, asked], client);
  }
  const isShort = info.status === 'running' && info.remainingMs < timeout * 1000;
  return connect([id, isShort ? { ...asked, timeout } : asked], client);
};

/** Runs `onCreate`, unless that was done, or waits until whoever does it is ready. False when the machine is of no use any more. */
const prepare = async (machine, onCreate, signal) => {
  const directory = `/tmp/.nullspace-made-${machine.id}`;
  const file = `${directory}/state`;
  const state = async () => {
    try {
      return await machine.files.read(file, { signal });
    } catch (error) {
      if (error instanceof NotFoundError && !isGone(error)) return undefined;
      throw error;
    }
  };
  let seen = await state();
  if (seen === 'done') return true;
  const claim = await machine.commands.run('mkdir', { args: [directory], signal });
  if (claim.exitCode === 0) {
    await first(machine, onCreate, file, signal);
    return true;
  }
  if (!(await machine.files.exists(directory, { signal })))
    throw new NullspaceError({ code: 'exec_failed', message: `onCreate cannot be begun: ${claim.stderr.trim()}` });
  let since = Date.now();
  for (const delay = delays(); ; ) {
    await delay(signal);
    const now = await state();
    if (now === 'done') return true;
    if (now !== seen) [seen, since] = [now, Date.now()];
    // A machine of which nobody knows how far it came.
    if (Date.now() - since > SILENCE_MS) {
      await machine.kill({ signal });
      return false;
    }
  }
};

/** Runs `onCreate`. When it fails, the machine is destroyed. */
const first = async (machine, onCreate, file, signal) => {
  let count = 0;
  // One after the other: the last word of the file is the last that was written.
  let written = Promise.resolve();
  const beat = setInterval(() => {
    // What is wrong with the machine is said by what `onCreate` does with it.
    written = written.then(() => machine.files.write(file, `${++count}`)).catch(() => {});
  }, BEAT_MS);
  try {
    await unlessAborted((async () => onCreate(machine))(), signal);
    clearInterval(beat);
    await unlessAborted(written, signal);
    await machine.files.write(file, 'done', { signal });
  } catch (error) {
    clearInterval(beat);
    // What cannot be destroyed now is taken for dead by the next who asks, and ends with its lease.
    await machine.kill().catch(() => {});
    throw new Failed(error);
  }
};

export const getOrCreate = async ([options], client) => {
  if (options === null || typeof options !== 'object')
    wrong('options', "must be an object such as { name: 'agent-7' }");
  const { name, onCreate, ...given } = options;
  if (typeof name !== 'string' || !NAME.test(name))
    wrong('name', `must be 1 to 128 visible ASCII characters, such as 'agent-7', not ${JSON.stringify(name)}`);
  if (onCreate !== undefined && typeof onCreate !== 'function') wrong('onCreate', 'must be a function');
  if (given.idempotencyKey !== undefined) wrong('idempotencyKey', 'has no place here: the name does what it does');
  await check(given, client);
  const wanted = { ...given, metadata: { ...given.metadata, [NAME_KEY]: name } };
  const signal = given.signal ?? client?.signal;
  const asked = { ...connectionOf(given), signal };
  const delay = delays();
  for (let attempt = 1; ; attempt++) {
    try {
      const found = await find(name, asked, client);
      const machine = found
        ? await takeUp(found, { timeout: given.timeout, signal }, asked, client)
        : await make(name, attempt, wanted, asked, client);
      if (machine && (!onCreate || (await prepare(machine, onCreate, signal)))) return machine;
    } catch (error) {
      if (error instanceof Failed) throw error.error;
      if (attempt >= MOST_TRIES || !(error instanceof NullspaceError) || !(isTaken(error) || isGone(error)))
        throw error;
    }
    await delay(signal);
  }
};

/** The published API takes no metadata here: a server that drops it would make a snapshot that nobody finds. */
export const checkLabels = async (snapshot, { name, metadata }, client) => {
  const wanted = Object.keys(metadata ?? {});
  if (name !== undefined) wanted.push(NAME_KEY);
  if (wanted.every((key) => Object.hasOwn(snapshot.metadata ?? {}, key))) return;
  await statics
    .get('Snapshot')
    .get('delete')([snapshot.id], client)
    .catch(() => {});
  throw new NotImplementedError({
    code: 'not_implemented',
    message: 'this server keeps no metadata of snapshots: leave out `name` and `metadata`, and remember the id instead',
  });
};
