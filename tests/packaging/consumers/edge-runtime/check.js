// Runs what esbuild has built in Vercel's edge-runtime, which evaluates one script and knows no modules.
import { readFileSync } from 'node:fs';
import { EdgeRuntime } from 'edge-runtime';

const { NULLSPACE_API_URL, NULLSPACE_API_KEY } = process.env;
const runtime = new EdgeRuntime({
  extend: (context) => Object.assign(context, { NULLSPACE_API_URL, NULLSPACE_API_KEY }),
});
runtime.evaluate(readFileSync('dist/worker.js', 'utf8'));
const response = await runtime.dispatchFetch('http://edge/');
console.log(response.ok ? 'RESULT' : 'FAILED', await response.text());
