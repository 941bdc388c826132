// Edge functions of Next.js and Vercel.

import { giveAllParts } from './lib/all-parts.js';
import { install } from './lib/lib.js';
import module from './nullspace.wasm?module';

giveAllParts();
// Bundlers that know no `?module` may give the file's bytes: esbuild with `--loader:.wasm=binary`.
install(() => (ArrayBuffer.isView(module) ? WebAssembly.compile(module) : module));

export * from './lib/public.js';
