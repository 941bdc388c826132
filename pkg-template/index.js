// Browsers, bundlers and everything unknown: the module comes inside the JavaScript, so nothing has to serve it.

import { install } from './lib/lib.js';
import load from './lib/load-inline.js';
import { setPlatform } from './lib/runtime.js';

// `fetch` of browsers cannot send a stream over HTTP/1.1.
setPlatform({ collectsStreams: true });
install(load);

export * from './lib/public.js';
