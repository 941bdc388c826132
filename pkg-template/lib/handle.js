// What a handle is: an object of its class that remembers what its calls need, as plain data. It holds no memory of the module,
// so it outlives a crash of it and needs no end. Only what holds a socket or a timer has an object of the module inside.

import { NullspaceError } from './errors.js';

const MAKE = Symbol('make');
const INSPECT = Symbol.for('nodejs.util.inspect.custom');

/** What logs and JSON show of each class, by its name. */
const SHOWN = {
  CodeInterpreter: [],
  Command: ['pid'],
  Commands: [],
  Files: [],
  Git: [],
  KeepAlive: [],
  Lifecycle: [],
  Machine: ['id', 'cwd'],
  MachineLifecycle: [],
  MachinePage: ['items', 'hasNext', 'nextToken'],
  MachineVolumes: [],
  Monitor: [],
  Process: [],
  Pty: [],
  PtySession: ['sessionId', 'pid'],
  Snapshot: [],
  Template: [],
  TemplateBuild: ['id', 'templateId', 'name', 'tags'],
  TemplateWarmPool: ['id'],
  Volume: ['id', 'name'],
};
/** What else can be read of them, and is shown nowhere. */
const SECRET = { Machine: ['trafficAccessToken'] };
/** What a machine is made of: objects that remember what it does. */
const PARTS = {
  codeInterpreter: 'CodeInterpreter',
  commands: 'Commands',
  files: 'Files',
  git: 'Git',
  lifecycle: 'MachineLifecycle',
  process: 'Process',
  pty: 'Pty',
  volumes: 'MachineVolumes',
};

class Handle {
  #record;

  constructor(make, record) {
    if (make !== MAKE)
      throw new TypeError(
        `${new.target.name} has no public constructor: handles come from calls such as Machine.create()`,
      );
    this.#record = record;
  }

  static recordOf(self) {
    return #record in Object(self) ? self.#record : undefined;
  }
}

/** The public classes. */
export const classes = {};

/** What a handle remembers. Throws when a method is called on something else. */
export const recordOf = (self, name) => {
  const record = self instanceof classes[name] ? Handle.recordOf(self) : undefined;
  if (record === undefined) throw new TypeError(`a method of ${name} was called on something that is no ${name}`);
  return record;
};

/** What a handle remembers, unless it was closed. */
export const open = (record) => {
  if (record.closed)
    throw new NullspaceError({ code: 'handle_closed', message: 'this handle was closed: connect to get another one' });
  return record;
};

export const make = (name, record) => new classes[name](MAKE, record);

export const define = (target, key, value) => {
  Object.defineProperty(value, 'name', { value: key, configurable: true });
  Object.defineProperty(target, key, { value, configurable: true, writable: true, enumerable: false });
};

export const getter = (target, key, get) =>
  Object.defineProperty(target, key, { configurable: true, enumerable: false, get });

for (const name of Object.keys(SHOWN)) {
  const type = class extends Handle {};
  classes[name] = type;
  // A literal, since minifiers rename classes.
  Object.defineProperty(type, 'name', { value: name, configurable: true });
  for (const key of [...SHOWN[name], ...(SECRET[name] ?? [])])
    getter(type.prototype, key, function () {
      return recordOf(this, name)[key];
    });
  const show = function () {
    return Object.fromEntries(SHOWN[name].map((key) => [key, this[key]]));
  };
  define(type.prototype, 'toJSON', show);
  Object.defineProperty(type.prototype, INSPECT, {
    configurable: true,
    value(_depth, options, inspect) {
      return `${name} ${inspect ? inspect(show.call(this), options) : JSON.stringify(show.call(this))}`;
    },
  });
  Object.defineProperty(type.prototype, Symbol.toStringTag, { value: name, configurable: true });
}

const part = (whole, key, name) =>
  getter(classes[whole].prototype, key, function () {
    const record = open(recordOf(this, whole));
    record.parts ??= {};
    record.parts[key] ??= make(name, record);
    return record.parts[key];
  });
for (const [key, name] of Object.entries(PARTS)) part('Machine', key, name);
part('Volume', 'files', 'Files');

/** Makes the handle of what an answer is about: called by the module. */
export const handle = (name, answer, client, timeoutMs, proof) => {
  const record = { client, timeoutMs, proof, isVolume: name === 'Volume' };
  for (const key of [...SHOWN[name], ...(SECRET[name] ?? [])]) record[key] = answer[key];
  if (name === 'TemplateBuild') record.id = answer.buildId;
  return make(name, record);
};

/** Makes the handle of a command in the background: called by the module. */
export const command = (machine, pid, heard) => make('Command', { machine, pid, heard });

/** What a handle stands for in options, such as `warmPool: pool`: called by the module. */
export const handleId = (value) => {
  const id = Handle.recordOf(value)?.id;
  return typeof id === 'string' ? id : undefined;
};
