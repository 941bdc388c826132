// Reads much output and says how far its memory grew: `node reads-output.mjs URL callbacks|'a stream' MIB`.

import { sdk } from './package.mjs';

const [, , baseUrl, way, size] = process.argv;
const machine = await sdk.Machine.connect('mch_1', { baseUrl, apiKey: 'test-key' });
let characters = 0;
let pieces = 0;
let peak = 0;
const look = () => (peak = Math.max(peak, process.memoryUsage.rss()));
const see = (text) => {
  characters += text.length;
  pieces += 1;
  if (pieces % 64 === 0) look();
};
// With all code loaded.
await machine.commands.run('1', { shell: true, onStdout() {} });
const before = process.memoryUsage.rss();
for (let round = 0; round < 2; round++) {
  if (way === 'callbacks') await machine.commands.run(size, { shell: true, onStdout: see });
  else
    for await (const { kind, data } of machine.commands.stream(size, { shell: true })) if (kind === 'stdout') see(data);
}
look();
console.log(JSON.stringify({ characters, before, peak }));
