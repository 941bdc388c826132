// workerd (Cloudflare Workers): code from text is refused there, a module that was uploaded is not.

import { giveAllParts } from './lib/all-parts.js';
import { install } from './lib/lib.js';
import module from './nullspace.wasm';

giveAllParts();
install(() => module);

export * from './lib/public.js';
