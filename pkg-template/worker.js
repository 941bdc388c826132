// workerd (Cloudflare Workers): code from text is refused there, a module that was uploaded is not.

import { install } from './lib/lib.js';
import module from './nullspace.wasm';

install(() => module);

export * from './lib/public.js';
