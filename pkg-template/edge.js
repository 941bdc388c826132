// Edge functions of Next.js and Vercel.
import module from './nullspace.wasm?module';
import { install } from './lib/lib.js';

install(() => module);
export * from './lib/lib.js';
