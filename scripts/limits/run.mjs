// Which limits hold in which way of starting an engine: `npm run limits`. Attacks an engine in each way that this computer can, keeps
// what was seen in results.json, and renews the table of docs/local-engine.md, where ways that were not run keep what they had.
// `-- --url URL --key KEY --way NAME` attacks an engine that runs elsewhere, such as in a virtual machine; `--only NAME` takes one way,
// `--limit TEXT` the limits with that in their names.

import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';

import { cleanUpOnSignals, endAll } from '../lib/cleanup.mjs';
import { inRoot } from '../lib/project.mjs';
import { pageFile, renewed } from '../pages.mjs';
import { COLUMNS, RESULTS } from '../pages/enforced.mjs';
import { attack } from './attacks.mjs';
import { ways } from './ways.mjs';

cleanUpOnSignals();
const { values } = parseArgs({
  options: {
    url: { type: 'string' },
    key: { type: 'string' },
    way: { type: 'string' },
    only: { type: 'string' },
    on: { type: 'string' },
    limit: { type: 'string' },
    engine: { type: 'string', default: inRoot('target', 'debug', 'nullspace-engine') },
    image: { type: 'string', default: 'nullspace-engine:0.1.0' },
  },
});
if (values.url && !COLUMNS.includes(values.way))
  throw new Error(`--way says in which way the engine was started: ${COLUMNS.map((name) => `'${name}'`).join(', ')}`);

const elsewhere = { [values.way]: () => ({ url: values.url, apiKey: values.key, stop() {} }) };
const all = values.url ? elsewhere : await ways(values.engine, values.image);
const results = JSON.parse(readFileSync(RESULTS, 'utf8'));
for (const [way, start] of Object.entries(all)) {
  if (values.only !== undefined && values.only !== way) continue;
  console.log(`# ${way}${start ? '' : ': cannot be started here'}`);
  if (!start) continue;
  const engine = await start();
  try {
    const cells = await attack(engine, (line) => console.log(`  ${line}`), values.limit);
    results[way] = {
      on: values.on ?? `Linux ${os.release()}, ${os.cpus().length} processors`,
      cells: { ...results[way]?.cells, ...cells },
    };
  } finally {
    await engine.stop();
  }
}
await endAll();
writeFileSync(RESULTS, `${JSON.stringify(results, undefined, 2)}\n`);
writeFileSync(pageFile('local-engine.md'), await renewed('local-engine.md'));
