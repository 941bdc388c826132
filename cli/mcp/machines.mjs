// The machines of one MCP client: those that it made end with it, unless they are to be kept.

import { Machine } from 'nullspace';

import { problem } from '../ending.mjs';

/** Template of the machine that is made when a tool is called without one: it runs commands and code. */
const TEMPLATE = 'code-interpreter';

export class Machines {
  #handles = new Map();
  #own = new Set();
  #options;
  #first;
  #isOver = false;

  /** `timeout`: seconds that a machine lives after the last call for it. `create`: options of machines. */
  constructor({ timeout, ...create }) {
    this.#options = { template: TEMPLATE, ...create, timeout };
  }

  /** Makes a machine. */
  async create({ keep = false, ...options }, call) {
    const machine = await Machine.create({ ...this.#options, ...options, ...call });
    // The client went while it was made: nobody will end it otherwise.
    if (this.#isOver && !keep) {
      await machine.kill();
      throw problem('the client is gone');
    }
    return this.#add(machine, !keep);
  }

  /** The machine with this id, or the session's own, which is made when it is first needed. */
  async take(id, call) {
    if (id === undefined) {
      this.#first ??= this.create({}, {}).catch((error) => {
        this.#first = undefined;
        throw error;
      });
      const machine = await this.#first;
      if (this.#handles.has(machine.id)) return this.#renewed(machine, call);
      // It was killed meanwhile.
      this.#first = undefined;
      return this.take(undefined, call);
    }
    const known = this.#handles.get(id);
    if (known) return this.#renewed(known, call);
    return this.#add(await Machine.connect(id, call), false);
  }

  /** Adds a machine that the client made in another way, such as a fork. */
  adopt(machine) {
    return this.#add(machine, true);
  }

  /** Forgets a machine that has ended. */
  forget(id) {
    this.#handles.delete(id);
    this.#own.delete(id);
  }

  /** Destroys what the client made. */
  async end() {
    this.#isOver = true;
    const ids = [...this.#own];
    this.#own.clear();
    await Promise.allSettled(ids.map((id) => Machine.killById(id)));
  }

  #add(machine, isOwn) {
    this.#handles.set(machine.id, machine);
    if (isOwn) this.#own.add(machine.id);
    return machine;
  }

  /** A machine lives on while it is used. */
  async #renewed(machine, call) {
    if (this.#own.has(machine.id)) {
      await machine.setTimeout(this.#options.timeout, call).catch((error) => {
        if (error.name === 'NotFoundError') this.forget(machine.id);
        // A paused machine is told so by the call itself.
        else if (error.name !== 'ConflictError') throw error;
      });
    }
    return machine;
  }
}
