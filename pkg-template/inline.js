// The entry with the module and all parts inside the JavaScript: for tools that pick another one and cannot serve its file, and for service
// workers, which load nothing later.

import { giveAllParts } from './lib/all-parts.js';

giveAllParts();

export * from './index.js';
