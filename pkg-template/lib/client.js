// Clients: the statics of all classes, with the options of one tenant. A page without one ships nothing of this, and no templates.

import { statics } from './calls.js';
import { classes, define } from './handle.js';
import { setTracing } from './runtime.js';
import { addTemplates } from './templates.js';
import * as tracing from './tracing.js';

addTemplates();

/** Holds the options of one tenant: nothing is global. */
export class Nullspace {
  constructor(options = {}) {
    if (options === null || typeof options !== 'object')
      throw new TypeError('new Nullspace(options) takes an object such as { apiKey, baseUrl }');
    const { tracer, ...client } = options;
    if (tracer !== undefined) {
      if (typeof tracer?.startSpan !== 'function')
        throw new TypeError("`tracer` must be a tracer of OpenTelemetry, such as trace.getTracer('app')");
      setTracing(tracing);
      client.startSpan = tracing.startSpan(tracer);
    }
    for (const [name, calls] of statics) {
      if (calls.size === 0) continue;
      // The same prototype, so `instanceof` holds for either.
      // biome-ignore lint/complexity/useArrowFunction: what stands right of `instanceof` and `new` is a function
      const bound = function () {
        throw new TypeError(`${name} has no public constructor`);
      };
      Object.defineProperties(bound, { name: { value: name }, prototype: { value: classes[name].prototype } });
      for (const [key, run] of calls) define(bound, key, (...args) => run(args, client));
      Object.defineProperty(this, name, { value: bound, enumerable: true });
    }
    // Keys stay out of logs.
    Object.defineProperty(this, Symbol.for('nodejs.util.inspect.custom'), {
      value: () => `Nullspace { baseUrl: ${JSON.stringify(client.baseUrl)} }`,
    });
  }
}
Object.defineProperty(Nullspace, 'name', { value: 'Nullspace', configurable: true });
