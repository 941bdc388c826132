// workerd (Cloudflare Workers): code from text is refused there, a module that was uploaded is not.
import module from './nullspace.wasm';
import { install } from './lib/lib.js';

install(() => module);
export * from './lib/lib.js';
