// Edge functions of Next.js and Vercel.

import { install } from './lib/lib.js';
import module from './nullspace.wasm?module';

install(() => module);

export * from './lib/public.js';
