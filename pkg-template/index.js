// Browsers, bundlers and everything unknown: the module comes inside the JavaScript, so nothing has to serve it.

import { install } from './lib/lib.js';
import load from './lib/load-inline.js';

install(load);

export * from './lib/public.js';
