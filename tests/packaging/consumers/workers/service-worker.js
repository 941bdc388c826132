// A service worker loads nothing later: this entry has all parts.
import { Nullspace } from '/node_modules/nullspace/inline.js';
import { run } from './run.js';

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('message', async ({ data, source }) => source.postMessage(await run(Nullspace, data)));
