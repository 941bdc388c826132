// Without 'wasm-unsafe-eval' nothing can run; the error must say so.
import { Machine } from '/node_modules/nullspace/index.js';

try {
  await Machine.create({ baseUrl: location.origin, apiKey: 'k' });
  console.log('FAILED', 'it ran');
} catch (error) {
  const clear = error.code === 'wasm_unavailable' && error.message.includes("'wasm-unsafe-eval'");
  console.log(
    'RESULT',
    JSON.stringify({ id: 'mch_none', stdout: clear ? 'hello\n' : error.message, listed: true, instance: true }),
  );
}
