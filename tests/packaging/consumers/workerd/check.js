// Runs what wrangler has built in workerd itself.
import { readdirSync } from 'node:fs';
import { Miniflare } from 'miniflare';

const module = readdirSync('dist').find((name) => name.endsWith('.wasm'));
const worker = new Miniflare({
  modules: [
    { type: 'ESModule', path: 'dist/worker.js' },
    { type: 'CompiledWasm', path: `dist/${module}` },
  ],
  modulesRoot: 'dist',
  compatibilityDate: '2026-04-01',
  bindings: { NULLSPACE_API_URL: process.env.NULLSPACE_API_URL, NULLSPACE_API_KEY: process.env.NULLSPACE_API_KEY },
});
try {
  const response = await worker.dispatchFetch('http://worker/');
  console.log(response.ok ? 'RESULT' : 'FAILED', await response.text());
} finally {
  await worker.dispose();
}
