// There is no import map in workers, so the file is named.
import { Nullspace } from '/node_modules/nullspace/index.js';
import { run } from './run.js';

self.addEventListener('message', async ({ data }) => self.postMessage(await run(Nullspace, data)));
